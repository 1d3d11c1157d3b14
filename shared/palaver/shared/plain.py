"""Plain values: what JSON can hold and every reader, in any language, reads back the same.

Field types of the contract that pydantic's own are too lenient for. Failures are ValidationErrors that tell
the place and the shape of a value, never the value.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NoReturn, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BaseModel,
    Field,
    PlainValidator,
    Strict,
    WithJsonSchema,
)

from palaver.shared.error_tree import ValidationError

MAX_DEPTH: Final = 64
"""Containers within containers: deeper ones would overflow the stack of some reader."""
MAX_ITEMS: Final = 100_000
"""Items of one list: as many messages as Anthropic takes."""
MAX_NAMES: Final = 1_000
"""Items of a list that somebody writes by hand, such as stop sequences."""
_LONGEST_PATH: Final = 200
_SCALARS: Final = frozenset((int, float, bool, type(None)))
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1

T = TypeVar("T")
Place: TypeAlias = str | tuple["Place", str | int]
"""A path, or a key or an index below another place: spelled out only for somebody who is told of it."""


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
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def below(path: str, name: str) -> str:
    """The path of a field; its name may be a key that a caller made up, and so anything."""
    shown = "".join(c if c.isprintable() else "?" for c in name[:64]) + ("…" if len(name) > 64 else "")
    return f"{path}.{shown}" if path else shown


def refuse(param: str, reason: str) -> NoReturn:
    """Raise our ValidationError for a field, in the words that all of them have."""
    raise ValidationError(f"{param}: {reason}" if param else reason, param=param or None)


def require(param: str, value: object, kind: Any, words: str) -> None:
    """Raise our ValidationError for a value that is of none of these classes, which `words` name."""
    if not isinstance(value, kind):
        refuse(param, f"must be {words}, not {shape(value)}")


def plain(value: Any, *, path: Place = "", depth: int = MAX_DEPTH) -> Any:
    """A deep copy of a JSON value; tuples become lists.

    Refused: NaN and infinities, integers beyond 64 bits, keys that are no strings, half surrogates, other
    types, more than 64 levels. Raises ValidationError naming the place below `path`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int | float):
        return _number(value, path)
    if depth <= 0:
        refuse("", f"is nested deeper than {MAX_DEPTH} levels")  # a path of all of them helps nobody
    if _is_mapping(value):
        return {_key(k, path): plain(v, path=(path, k), depth=depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v, path=(path, i), depth=depth - 1) for i, v in enumerate(value)]
    refuse(_spelled(path), f"must be JSON, not {shape(value)}")


def plain_object(value: Any) -> dict[str, Any]:
    """A deep copy of a JSON object; see `plain`."""
    if not _is_mapping(value):
        refuse("", f"must be a JSON object, not {shape(value)}")
    return {_key(k, ""): plain(v, path=("", k), depth=MAX_DEPTH - 1) for k, v in value.items()}


def _is_mapping(value: object) -> bool:
    return value.__class__ is dict or isinstance(value, Mapping)  # the slower question is asked of few


def _spelled(place: Place) -> str:
    if isinstance(place, str):
        return place
    above, step = place
    path = _spelled(above)
    return (below(path, step) if isinstance(step, str) else f"{path}[{step}]")[-_LONGEST_PATH:]


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
        elif item.__class__ in _SCALARS:
            pass  # which spares them the slower questions
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


def counted(value: Any, limit: int) -> int:
    """How many values a JSON document holds, or a model that was made of one, all levels together; counting
    stops once they are above the limit.
    """
    total, pending = 0, [value]
    while pending and total <= limit:
        item = pending.pop()
        total += 1
        if item.__class__ is str or item.__class__ in _SCALARS:
            continue  # which spares them the slower questions
        if isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, list | tuple):
            pending.extend(item)
        elif isinstance(item, BaseModel):
            pending.extend([getattr(item, name) for name in item.model_fields_set])
    return total


def _text(value: str, path: Place) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # its own chain would carry the text
            encodable = False
        else:
            encodable = True
        if not encodable:
            refuse(_spelled(path), "holds half of a surrogate pair, which no encoding can carry")
    return value


def _number(value: int | float, path: Place) -> int | float:
    if isinstance(value, float) and not math.isfinite(value):
        refuse(_spelled(path), f"must be a finite number, not {value}")
    if isinstance(value, int) and not _INT_MIN <= value <= _INT_MAX:
        refuse(_spelled(path), "must fit into 64 bits")
    return value


def _key(key: object, path: Place) -> str:
    if not isinstance(key, str):
        refuse(_spelled(path), f"has a key that is {shape(key)}; keys must be strings")
    return _text(key, path)


def optional() -> Any:
    """A field that is left out of JSON when it is None.

    Per field, because pydantic's `exclude_none` also drops nulls under keys that only the caller knows.
    """
    return Field(default=None, exclude_if=_is_none)


def mark() -> Any:
    """A flag that is left out of JSON when it is not set."""
    return Field(default=False, exclude_if=_is_false)


def _is_none(value: object) -> bool:
    return value is None


def _is_false(value: object) -> bool:
    return value is False


JsonValue = Annotated[Any, PlainValidator(plain), WithJsonSchema({})]
JsonObject = Annotated[dict[str, Any], PlainValidator(plain_object), WithJsonSchema({"type": "object"})]
# Strict refuses booleans and strings; it takes integers for floats, as JSON does not tell them apart.
Real = Annotated[float, Strict(), AllowInfNan(False)]
Integer = Annotated[int, Strict(), Field(lt=2**63)]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), AfterValidator(lambda text: _text(text, ""))]
Name = Annotated[Text, Field(min_length=1, max_length=256)]
# One wrong item is told, not a million: each costs more to tell than it took to send.
Items: TypeAlias = Annotated[list[T], Field(fail_fast=True, max_length=MAX_ITEMS)]
Names: TypeAlias = Annotated[list[Text], Field(fail_fast=True, max_length=MAX_NAMES)]


def printable(value: str) -> str:
    """A name, if a line can hold it as it is. Raises ValueError."""
    if not value.isprintable():
        raise ValueError("must not contain control characters")
    return value


Key = Annotated[Name, AfterValidator(printable)]
