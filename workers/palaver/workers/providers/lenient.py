"""JSON as servers really send it."""

import json
from typing import Any


def lenient_json(data: bytes) -> Any:
    """Parse with bad UTF-8 replaced, control characters and half surrogates let through. Raises
    ValueError.
    """
    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def text(value: Any) -> str | None:
    """The value if it is a string."""
    return value if isinstance(value, str) else None


def integer(value: Any) -> int | None:
    """The value if it is a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def dictionary(value: Any) -> dict[str, Any] | None:
    """The value if it is an object."""
    return value if isinstance(value, dict) else None


def dictionaries(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
