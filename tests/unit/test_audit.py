"""`make audit`, with a pip-audit that says what it is told to."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, clean_environment

WEAK = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.0"], "description": "It is weak."}
FINE = {"name": "fine", "version": "1.0", "vulns": []}


def audit(folder: Path, said: str) -> subprocess.CompletedProcess[str]:
    (folder / "pip_audit.py").write_text(f"import sys\nsys.stdout.write({said!r})\nsys.exit(1)\n")
    command = (sys.executable, ROOT / "requirements" / "audit.py", "base.txt")
    env = clean_environment({"PYTHONPATH": str(folder)})
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


@pytest.mark.parametrize(
    ("packages", "code", "told"),
    [
        pytest.param([FINE], 0, "1 packages were checked, 0 weaknesses are known", id="none"),
        pytest.param(
            [FINE, {**FINE, "name": "weak", "vulns": [WEAK]}],
            1,
            "weak 1.0: PYSEC-1, CVE-1, mended in 2.0\n2 packages were checked, 1 weaknesses",
            id="one",
        ),
        pytest.param(
            [FINE, {"name": "own", "version": "1", "skip_reason": "not there"}],
            3,
            "0 weaknesses are known\nNOT CHECKED: the index says nothing of 1 packages: own",
            id="unknown there",
        ),
    ],
)
def test_what_is_known_is_told(tmp_path: Path, packages: list[Any], code: int, told: str) -> None:
    done = audit(tmp_path, json.dumps({"dependencies": packages, "fixes": []}))
    assert (done.returncode, done.stderr) == (code, "")
    assert told in done.stdout


def test_no_answer_is_no_clean_bill(tmp_path: Path) -> None:
    done = audit(tmp_path, "")
    assert done.returncode == 3
    assert done.stdout.startswith("NOT CHECKED")
