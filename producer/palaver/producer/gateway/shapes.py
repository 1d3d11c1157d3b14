"""The shapes that values of a body must have; ValidationError, with its place, for any other."""

from typing import Any

from palaver.shared.plain import refuse, shape

Json = dict[str, Any]


def object_at(value: Any, at: str) -> Json:
    """The value, which is an object."""
    if not isinstance(value, dict):
        refuse(at, f"must be an object, not {shape(value)}")
    return value


def list_at(value: Any, at: str) -> list[Any]:
    """The value, which is a list."""
    if not isinstance(value, list):
        refuse(at, f"must be a list, not {shape(value)}")
    return value
