"""The shapes that values of a body must have; ValidationError, with its place, for any other.

Bodies whose insides are the APIs' own are pydantic models made of the types here, so that what the OpenAPI
document says is what is checked. Their errors name a place as a client would: the branches of unions are
tagged in brackets, which no place shows.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Tag

from palaver.shared.plain import Items, Text, refuse, shape

Json = dict[str, Any]
T = TypeVar("T")


class Open(BaseModel):
    """An object that may have more fields than are known here."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    @property
    def others(self) -> Json:
        """The fields that are not known here, but for those that are null."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}

    def given(self) -> Json:
        """The fields that were given and are not null, as they are: documents stay documents."""
        found = {name: getattr(self, name) for name in self.model_fields_set}
        return {name: value for name, value in found.items() if value is not None}


def kind_of(value: Any) -> str | None:
    """The tag of an object that is told apart by its `type`."""
    name = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    return f"[{name}]" if isinstance(name, str) else None


def of_types(*names: str, others: str = "") -> Callable[[Any], Any]:
    """Refuses, before a union looks at it, what has none of these types; `others`: what is told of them."""
    told = f"must be {' or '.join(names)}" + (f": {others}" if others else "")

    def checked(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        if not isinstance(value, Mapping):
            raise ValueError(f"must be an object with a type, not {shape(value)}")
        if value.get("type") not in names:
            refuse("type", told)
        return value

    return checked


def _text_or_list(value: Any) -> str | None:
    if isinstance(value, str):
        return "[string]"
    return "[list]" if isinstance(value, list) else None


def _checked_text_or_list(value: Any) -> Any:
    if _text_or_list(value) is None:
        raise ValueError(f"must be a string or a list, not {shape(value)}")
    return value


TextOr: TypeAlias = Annotated[
    Annotated[Text, Tag("[string]")] | Annotated[Items[T], Tag("[list]")],
    Discriminator(_text_or_list),
    BeforeValidator(_checked_text_or_list),
]
"""Text, or a list of these."""


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
