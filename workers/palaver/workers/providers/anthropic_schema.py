"""The JSON Schemas that Anthropic decodes by; any other is refused with the whole request.

Source: Anthropic's documentation, "Structured outputs", "JSON Schema limitations".
"""

from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from palaver.shared.strict_schema import COMPOSED, within

__all__ = ["closed", "takes"]

BOUNDS: Final = frozenset(
    (
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "uniqueItems",
    )
)
_DEFINITIONS: Final = "#/$defs/"


def takes(schema: dict[str, Any]) -> bool:
    """Whether a schema is one: every object closed, nothing composed but by `anyOf`, no bounds, and nothing
    that refers to itself.
    """
    refused = COMPOSED | BOUNDS
    return not _recurses(schema) and all(
        _is_closed(each) and not refused & each.keys() for each in within(schema)
    )


def closed(schema: Any) -> Any:
    """The same with every object closed that names its properties and says nothing of others: what fits this
    fits the original too.
    """
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    said = {keyword: closed(value) for keyword, value in schema.items()}
    opens = said.get("type") == "object" and "properties" in said
    return {**said, "additionalProperties": said.get("additionalProperties", False)} if opens else said


def _is_closed(schema: dict[str, Any]) -> bool:
    is_object = schema.get("type") == "object" or "properties" in schema
    return not is_object or schema.get("additionalProperties") is False


def _recurses(schema: dict[str, Any]) -> bool:
    """Whether it refers to itself, or to what is not among its own definitions."""
    definitions = schema.get("$defs", {})
    if not isinstance(definitions, dict):
        return True
    uses = {_DEFINITIONS + name: _references(part) for name, part in definitions.items()}
    if not _references(schema) <= uses.keys():
        return True
    try:
        TopologicalSorter(uses).prepare()  # in linear time: a caller may have defined a hundred thousand
    except CycleError:
        return True
    return False


def _references(schema: Any) -> set[str]:
    return {str(each["$ref"]) for each in within(schema) if "$ref" in each}
