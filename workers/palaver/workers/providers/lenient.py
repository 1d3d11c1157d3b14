"""JSON as servers really send it."""

import json
from typing import Any

from palaver.shared.errors import MalformedStreamError
from palaver.shared.plain import shape


def lenient_json(data: bytes) -> Any:
    """Parse with bad UTF-8 replaced, control characters and half surrogates let through. Raises
    ValueError.
    """
    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_utf8(data: bytes) -> bool:
    """Whether nothing of it has to be replaced to make it text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def text(value: Any) -> str | None:
    """The value if it is a string."""
    return value if isinstance(value, str) else None


def content_text(value: Any) -> str | None:
    """The text of an answer. Raises MalformedStreamError for what is none: left out, it would be missed by
    nobody.
    """
    if value is None or isinstance(value, str):
        return value
    raise unfit("content", value)


def unfit(name: str, value: Any) -> MalformedStreamError:
    """The error for a field that holds an answer in no form that can be read."""
    return MalformedStreamError(f"The provider sent {shape(value)} as {name}.")


def integer(value: Any) -> int | None:
    """The value if it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def dictionary(value: Any) -> dict[str, Any] | None:
    """The value if it is an object."""
    return value if isinstance(value, dict) else None


def dictionaries(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
