"""What `PALAVER_TOOLS` names."""

from pathlib import Path
from textwrap import dedent

import pytest

from palaver.shared.errors import ConfigurationError
from palaver.workers.generation import Registry

SHOP = """
    from palaver.workers.generation import Offer, ToolSource, continue_prompt, tool

    @tool
    def price(item: str) -> int:
        return 5

    @continue_prompt(name="more")
    def go_on(count, max_count, current_text, original_prompt):
        return "more"

    def helper():
        return price

    class Store(ToolSource):
        async def tools(self):
            return {}

        async def call(self, name, arguments, context):
            return ""
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop_for_test.py").write_text(dedent(SHOP))
    (tmp_path / "second_for_test.py").write_text("from shop_for_test import price, go_on\n")
    (tmp_path / "other_for_test.py").write_text(
        "from palaver.workers.generation import tool\n@tool\ndef price(item: str) -> int:\n    return 6\n"
    )
    (tmp_path / "broken_for_test.py").write_text("import no_such_module_for_test\n")
    (tmp_path / "misspelt_for_test.py").write_text("def\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_nothing_is_named_and_nothing_found() -> None:
    assert Registry.load("") == Registry()


def test_a_module_gives_what_is_marked_in_it() -> None:
    registry = Registry.load(" shop_for_test , second_for_test,")
    assert list(registry.functions) == ["price"]
    assert list(registry.prompts) == ["more"]
    assert registry.sources == []


def test_a_class_is_a_source_of_tools() -> None:
    registry = Registry.load("shop_for_test:Store")
    assert [type(source).__name__ for source in registry.sources] == ["Store"]
    assert registry.functions == {}


@pytest.mark.parametrize(
    ("places", "problem"),
    [
        ("no_such_module_for_test", "no_such_module_for_test cannot be imported"),
        ("broken_for_test", "broken_for_test cannot be imported"),
        ("misspelt_for_test", r"misspelt_for_test cannot be imported: .*misspelt_for_test.py, line 1"),
        ("shop_for_test:Nobody", "shop_for_test:Nobody is no subclass of ToolSource"),
        ("shop_for_test:price", "is no subclass of ToolSource"),
        ("shop_for_test,other_for_test", "other_for_test: there is another tool of the name"),
    ],
)
def test_what_cannot_be_is_named(places: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Registry.load(places)
