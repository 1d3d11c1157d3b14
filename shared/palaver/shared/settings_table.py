"""The settings as a page for people, generated from the fields: `python -m palaver.shared.settings_table`."""

import ast
import inspect
import sys
from itertools import pairwise
from typing import Any, Final

from palaver.shared.settings import Settings

HEAD: Final = """\
# Settings

Variables of the environment, read once when a process starts; times are in seconds. A wrong value is refused
with a line that names it, a misspelt name is told. `palaver.toml` is beside them, for profiles and models.
`make schema` writes this page.

| variable | value | default | what it is |
|---|---|---|---|
"""

_WORDS: Final = {
    "boolean": "`True` or `False`",
    "integer": "whole number",
    "number": "number",
    "object": "JSON",
    "string": "text",
}
_BOUNDS: Final = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
}
_ENDLESS: Final = 10**9


def settings_table() -> str:
    """The page, in Markdown."""
    fields = Settings.model_json_schema()["properties"]
    told = descriptions()
    return HEAD + "".join(_row(name, field, told[name]) for name, field in fields.items())


def descriptions() -> dict[str, str]:
    """The line under each field, from the source: pydantic would read that in every process that starts."""
    (settings,) = ast.parse(inspect.getsource(Settings)).body
    return {
        field.target.id: str(line.value.value)
        for field, line in pairwise(settings.body)  # type: ignore[attr-defined] # it is a class
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
    }


def _row(name: str, field: dict[str, Any], told: str) -> str:
    default = field.get("default")
    if isinstance(default, float):
        default = f"{default:.10g}"
    shown = "" if default in (None, "") else f"`{default}`"
    return f"| `PALAVER_{name.upper()}` | {_value(field)} | {shown} | {told} |\n"


def _value(field: dict[str, Any]) -> str:
    """What a field takes, as people say it."""
    if "enum" in field:
        return " or ".join(f"`{each}`" for each in field["enum"])
    kind = next((each for each in field.get("anyOf", []) if each["type"] != "null"), field)
    bounds = [
        text.format(f"{kind[bound]:.10g}")
        for bound, text in _BOUNDS.items()
        if bound in kind and kind[bound] < _ENDLESS
    ]
    return ", ".join([_WORDS[kind["type"]], *bounds])


if __name__ == "__main__":
    sys.stdout.write(settings_table())
