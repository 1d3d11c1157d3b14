"""The base of all documents, and the one place where pydantic's errors become ours."""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Final, Self

import pydantic
from pydantic import BaseModel, ConfigDict

from palaver.shared.error_tree import ValidationError
from palaver.shared.plain import below, shape

_MOST_TOLD: Final = 3
_MOST_LISTED: Final = 100
_SHOWN: Final = frozenset(
    ("code", "finish_reason", "job_id", "kind", "mode", "model", "profile", "provider", "session_id", "type")
)


class _Shape(str):
    """Text that stands for a value in a repr, without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


class Document(BaseModel):
    """An immutable value of the contract. However it is made, wrong input raises our `ValidationError`."""

    model_config = ConfigDict(
        defer_build=True,  # its validator is made at first use: no process uses all documents
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
        ser_json_inf_nan="constants",
    )

    def __init__(self, /, **data: Any) -> None:
        problems = []
        try:
            super().__init__(**data)
        except pydantic.ValidationError as error:
            problems.append(validation_error(error))
        # Raised out here, so that not even __context__ holds pydantic's error, which knows the input; and
        # kept by nobody here: it knows this frame, which would be a cycle with the input.
        if problems:
            raise problems.pop()

    # Nested documents then skip __init__ and report their place to the outermost one.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: Any) -> None:
        problems = []
        try:
            super().__setattr__(name, value)
        except pydantic.ValidationError as error:
            problems.append(validation_error(error))
        if problems:
            raise problems.pop()

    @classmethod
    def validated(cls, value: Any, *, at: str = "") -> Self:
        """The document of an instance or a mapping; errors name their place below `at`."""
        try:
            found: Self = cls.__pydantic_validator__.validate_python(value)
            return found
        except pydantic.ValidationError as error:
            problems = [validation_error(error, prefix=at)]
        raise problems.pop()

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """As pydantic's, but raises our ValidationError."""
        try:
            return super().model_validate(obj, **options)
        except pydantic.ValidationError as error:
            problems = [validation_error(error)]
        raise problems.pop()

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """As pydantic's, but raises our ValidationError."""
        try:
            return super().model_validate_json(json_data, **options)
        except pydantic.ValidationError as error:
            problems = [validation_error(error)]
        raise problems.pop()

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # A repr ends up in logs and tracebacks: what may be content is told by its shape, what is empty not.
        for name, value in super().__repr_args__():
            if isinstance(value, list | dict) and not value:
                continue
            shown = value is None or name in _SHOWN or isinstance(value, int | float | Enum | Document)
            yield name, value if shown else _Shape(shape(value))

    def to_json(self) -> bytes:
        """The document as UTF-8 JSON, without the optional fields that are None."""
        return self.__pydantic_serializer__.to_json(self)


def validation_error(
    error: pydantic.ValidationError, *, prefix: str = "", tell: Callable[[object], str] = shape
) -> ValidationError:
    """Our error for pydantic's: `param` is the path of the first wrong field, the message tells up to
    three. `tell` describes a wrong value.
    """
    if error.error_count() > _MOST_LISTED:  # each costs more to list than it took to send
        told = f"more than {_MOST_LISTED} places are wrong"
        return ValidationError(f"{prefix}: {told}" if prefix else told, param=prefix or None)
    return told_of(error.errors(include_url=False), prefix=prefix, tell=tell)


def told_of(
    items: Sequence[Any], *, prefix: str = "", tell: Callable[[object], str] = shape
) -> ValidationError:
    """Our error for what pydantic's `errors()` lists, which a framework may have taken apart already."""
    problems = [_problem(item, prefix, tell) for item in _telling(items)]
    told = "; ".join(text for _, text in problems[:_MOST_TOLD])
    if len(problems) > _MOST_TOLD:
        told += f"; and {len(problems) - _MOST_TOLD} more"
    return ValidationError(told, param=problems[0][0])


def _telling(items: Sequence[Any]) -> list[Any]:
    """Without the wrong types of a union's other branches, where one branch has said what is wrong."""
    told = {_path(item["loc"], "") for item in items if item["type"] not in _TYPES}
    return [item for item in items if item["type"] not in _TYPES or _path(item["loc"], "") not in told]


def _problem(item: Any, prefix: str, tell: Callable[[object], str]) -> tuple[str | None, str]:
    path = _path(item["loc"], prefix)
    if item["type"] == "extra_forbidden":  # a name that the caller made up, whatever it looks like
        path = below(_path(item["loc"][:-1], prefix), str(item["loc"][-1]))
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, ValidationError):
        # raised by a parser inside, which has named its own place
        inner = cause.param or ""
        path += inner if inner.startswith("[") or not path else f".{inner}" if inner else ""
        reason = cause.message.removeprefix(f"{inner}: ")
        return path or None, f"{path}: {reason}" if path else reason
    reason = str(cause) if cause is not None else _reason(item, tell)
    return path or None, f"{path}: {reason}" if path else reason


_LIMITS: Final = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


_LENGTHS: Final = {
    "too_short": ("min_length", "at least"),
    "string_too_short": ("min_length", "at least"),
    "too_long": ("max_length", "at most"),
    "string_too_long": ("max_length", "at most"),
}

_TYPES: Final = {
    "dict_type": "an object",
    "list_type": "a list",
    "model_type": "an object",
    "string_type": "a string",
    "tuple_type": "a list",
}


def _reason(item: Any, tell: Callable[[object], str]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        bound = context[name]
        bound = int(bound) if float(bound).is_integer() else bound
        return f"must be {words} {bound}, not {tell(item['input'])}"
    if kind in _LENGTHS:
        name, words = _LENGTHS[kind]
        unit = "characters" if isinstance(item["input"], str) else "items"
        if (name, context[name]) == ("min_length", 1):
            return "must not be empty"
        return f"must have {words} {context[name]} {unit}, not {len(item['input'])}"
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}, not {tell(item['input'])}"
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a known field"
    if kind == "frozen_instance":
        return "cannot be changed: the document is immutable"
    if kind == "json_invalid":
        return "is not valid JSON"
    # members of enums are told by their values
    text = re.sub(r"<[\w.]+: ('[^']*')>", r"\1", str(item["msg"]))
    text = text[:1].lower() + text[1:]
    text = text.removeprefix("input should be ").partition(", unable")[0]
    return f"must be {text}, not {tell(item['input'])}"


def _path(location: tuple[int | str, ...], prefix: str) -> str:
    path = prefix
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif "[" not in part:
            # parts with a bracket are names of union branches, not of fields
            path = below(path, part)
    return path
