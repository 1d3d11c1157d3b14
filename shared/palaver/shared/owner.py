"""Whose something is: a conversation, a file."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator

from palaver.shared.document import Document
from palaver.shared.plain import Key, Name, optional, refuse, shape


def _user_id(user: Any) -> str | None:
    if isinstance(user, bool | float | bytes | Mapping):
        refuse("", f"must be a user or its id, not {shape(user)}")
    if user is None or isinstance(user, str | int | UUID):
        return None if user is None else str(user)
    if not hasattr(user, "pk") and not hasattr(user, "id"):
        refuse("", f"must be a user or its id, not {shape(user)}")
    found = getattr(user, "pk", None)
    found = getattr(user, "id", None) if found is None else found
    return None if found is None else str(found)


class Owner(Document):
    """Whose a conversation or a file is: a user's or, without one, a guest's, of a tenant or of none.

    The same user of another tenant is another owner. Guests, who have an anonymous id, own no files.
    """

    tenant: Key | None = optional()
    user: Annotated[Name | None, BeforeValidator(_user_id)] = optional()
    anonymous_id: Name | None = optional()

    @property
    def is_somebody(self) -> bool:
        """Whether it is one that has a list of what is his."""
        return self.user is not None or self.anonymous_id is not None


def user_id(user: object) -> str | None:
    """A user's id as text: of an id itself, or of an object with a `pk` or an `id`, as web frameworks have
    them. None for None, and for an object without an id: somebody who has not logged in.
    """
    return Owner.validated({"user": user}).user
