"""Which JSON Schemas a provider can decode by strictly: it refuses a request with any other."""

from collections.abc import Iterator
from typing import Any, Final

__all__ = ["COMPOSED", "is_strict", "with_root", "within"]

COMPOSED: Final = frozenset(
    (
        "allOf",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "not",
        "oneOf",
        "patternProperties",
        "then",
    )
)
"""Keywords that strict decoding refuses everywhere; `anyOf` is the one that it knows."""

_BY_NAME: Final = frozenset(("$defs", "definitions", "properties"))
_DEFINITIONS: Final = "#/$defs/"


def within(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all that are in it."""
    if isinstance(schema, list):
        for each in schema:
            yield from within(each)
    elif isinstance(schema, dict):
        yield schema
        for keyword, value in schema.items():
            named = keyword in _BY_NAME and isinstance(value, dict)
            yield from within(list(value.values()) if named else value)


def is_strict(schema: Any) -> bool:
    """Whether `strict` of chat/completions takes it: an object, in which every object has all its properties
    and no others, and nothing is composed but by `anyOf`.

    Source: OpenAI's guide to structured outputs, "Supported schemas".
    """
    if not isinstance(schema, dict) or schema.get("type") != "object" or "anyOf" in schema:
        return False
    return all(_is_whole(each) and not COMPOSED & each.keys() for each in within(schema))


def with_root(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema with its root written out: pydantic's for a model that holds itself is a reference,
    and several providers want to see an object there.
    """
    name = str(schema.get("$ref", "")).removeprefix(_DEFINITIONS)
    found = schema.get("$defs", {}).get(name)
    if found is None:
        return schema
    return {**found, **{keyword: value for keyword, value in schema.items() if keyword != "$ref"}}


def _is_whole(schema: dict[str, Any]) -> bool:
    if schema.get("type") != "object" and "properties" not in schema:
        return True
    every = _names(schema.get("properties", {})) == _names(schema.get("required", []))
    return every and schema.get("additionalProperties") is False


def _names(named: Any) -> set[str]:
    """The names of properties; of anything else, as a constant in a schema may hold it, none."""
    return {name for name in named if isinstance(name, str)} if isinstance(named, dict | list) else set()
