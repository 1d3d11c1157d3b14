"""Plain values: what JSON can hold and every reader, in any language, reads back the same.

Field types of the contract that pydantic's own are too lenient for. Failures are `ValueError`s that tell
the place and the shape of a value, never the value.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AllowInfNan, BaseModel, Field, PlainValidator, Strict, WithJsonSchema

MAX_DEPTH: Final = 64
"""Containers within containers: deeper ones would overflow the stack of some reader."""
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1


def shape(value: object) -> str:
    """A value described without its content: `a string of 12 characters`, `a list of 3`, `5`, `true`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        # Python refuses to print an integer of thousands of digits
        return "a huge number" if isinstance(value, int) and value.bit_length() > 64 else f"{value}"
    if isinstance(value, str):
        return f"a string of {len(value)} characters" if value else "an empty string"
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return f"an object with {len(value)} keys"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    return f"a {type(value).__name__}"


def plain(value: Any, *, path: str = "", depth: int = MAX_DEPTH) -> Any:
    """A deep copy of a JSON value; tuples become lists.

    Refused: NaN and infinities, integers beyond 64 bits, keys that are no strings, half surrogates, other
    types, more than 64 levels. Raises ValueError naming the place.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int | float):
        return _number(value, path)
    if depth <= 0:
        raise ValueError(f"{_at(path)}is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(k, path): plain(v, path=f"{path}.{k}"[-200:], depth=depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, path=f"{path}[{i}]"[-200:], depth=depth - 1) for i, v in enumerate(value)]
    raise ValueError(f"{_at(path)}must be JSON, not a {type(value).__name__}")


def plain_object(value: Any) -> dict[str, Any]:
    """A deep copy of a JSON object; see `plain`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a JSON object, not {shape(value)}")
    result: dict[str, Any] = plain(value)
    return result


def measure(value: Any, limit: int) -> int:
    """About how many bytes of JSON a document takes; counting stops once it is above the limit.

    Cheap enough to run before anything else looks at an input from outside.
    """
    total, pending = 0, [value]
    while pending and total <= limit:
        item = pending.pop()
        if isinstance(item, str):
            total += (
                len(item) if item.isascii() or len(item) > limit else len(item.encode("utf-8", "replace"))
            )
        elif isinstance(item, Mapping):
            total += 2 * len(item)
            pending.extend(item.keys())
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            total += len(item)
            pending.extend(item)
        elif isinstance(item, BaseModel):
            pending.append({**item.__dict__, **(item.model_extra or {})})
        total += 2
    return total


def _text(value: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # its own chain would carry the text
            encodable = False
        else:
            encodable = True
        if not encodable:
            raise ValueError(f"{_at(path)}holds half of a surrogate pair, which no encoding can carry")
    return value


def _number(value: int | float, path: str) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{_at(path)}must be a finite number, not {value}")
    if isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        raise ValueError(f"{_at(path)}must fit into 64 bits")
    return value


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise ValueError(f"{_at(path)}has a key that is a {type(key).__name__}; keys must be strings")
    return _text(key, path)


def _at(path: str) -> str:
    return f"at {path.lstrip('.')}: " if path else ""


def optional() -> Any:
    """A field that is left out of JSON when it is None.

    Per field, because pydantic's `exclude_none` also drops nulls under keys that only the caller knows.
    """
    return Field(default=None, exclude_if=_is_none)


def _is_none(value: object) -> bool:
    return value is None


JsonValue = Annotated[Any, PlainValidator(plain), WithJsonSchema({})]
JsonObject = Annotated[dict[str, Any], PlainValidator(plain_object), WithJsonSchema({"type": "object"})]
# Strict refuses booleans and strings; it takes integers for floats, as JSON does not tell them apart.
Real = Annotated[float, Strict(), AllowInfNan(False)]
Integer = Annotated[int, Strict(), Field(lt=2**63)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), AfterValidator(lambda text: _text(text, ""))]
