"""What is said of a module that a setting names and that cannot be imported."""

import re
from pathlib import Path

import pytest

from palaver.shared.errors import ConfigurationError
from palaver.workers.imports import imported

BROKEN = {
    "a name": ("tea = 1\n\ncake = undefined\n", r"line 3: NameError: name 'undefined' is not defined"),
    "a module": (
        "import no_such_module_for_test\n",
        r"line 1: ModuleNotFoundError: No module named",
    ),
    "a part": (
        "from palaver.workers.agents import Agnt\n",
        r"line 1: ImportError: cannot import name",
    ),
    "grammar": ("tea = 1\nclass Tea(\n", r"line 2: SyntaxError: '\(' was never closed"),
    "a value": ("\nint('many\\nlines')\n", r"line 2: ValueError: invalid literal for int.*'many\\nlines'"),
    "an exit": ("raise SystemExit(3)\n", r"line 1: SystemExit: 3"),
    "a path": (
        "from palaver.workers.agents import path\nchat_urlpatterns = [path('tea/', 5)]\n",
        r"line 2: ConfigurationError: int is no agent",
    ),
    "a library's": ("import json\n\njson.loads('{')\n", r"line 3: JSONDecodeError: Expecting property name"),
}


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    # A name of its own: Python keeps what it has imported.
    file = tmp_path / f"broken_{re.sub(r'[^a-z]', '_', request.node.callspec.id)}.py"
    file.write_text(BROKEN[request.node.callspec.params["kind"]][0])
    return file


@pytest.mark.parametrize("kind", BROKEN)
def test_its_file_its_line_and_its_error_are_told_in_one_line(place: Path, kind: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        imported("PALAVER_AGENTS", str(place))
    said = raised.value.message
    assert re.fullmatch(
        rf"PALAVER_AGENTS: \S+ cannot be imported: {re.escape(str(place))}, {BROKEN[kind][1]}.*", said
    ), said


def test_the_line_may_be_in_a_module_that_it_imports(tmp_path: Path) -> None:
    (tmp_path / "helper_for_test.py").write_text("def cut():\n    return 1 / 0\n")
    (tmp_path / "uses_helper_for_test.py").write_text("from helper_for_test import cut\n\ncut()\n")
    problem = re.escape(f"{tmp_path}/helper_for_test.py, line 2: ZeroDivisionError: division by zero")
    with pytest.raises(ConfigurationError, match=problem):
        imported("PALAVER_TOOLS", f"{tmp_path}/uses_helper_for_test.py")
