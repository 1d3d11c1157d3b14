"""What is known of a stored file, and whose it is."""

import re
from typing import Annotated, Final, TypeGuard

import uuid_utils
from pydantic import Field

from palaver.shared.document import Document
from palaver.shared.owner import Owner
from palaver.shared.plain import Integer, Name, Real, Text, optional

LONGEST_FILENAME: Final = 255  # characters
_FILE_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class FileRef(Document):
    """A stored file. A job carries its `id` alone.

    `type` is the content type that was found by looking at the content, `size` in bytes, `sha256` of the
    content as hex digits, `created` Unix time in seconds, `purpose` what its owner said that it is for.
    """

    id: Text
    filename: Annotated[Text, Field(min_length=1, max_length=LONGEST_FILENAME)]
    type: Text
    size: Annotated[Integer, Field(ge=0)]
    sha256: Text
    created: Real
    purpose: Name | None = optional()
    tenant: Text | None = optional()
    user: Text | None = optional()

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return Owner(tenant=self.tenant, user=self.user)


def new_file_id() -> str:
    """A fresh UUIDv7."""
    return str(uuid_utils.uuid7())


def valid_file_id(value: object) -> TypeGuard[str]:
    """Whether the value can be the id of a file; it becomes part of a place in the store."""
    return isinstance(value, str) and _FILE_ID.fullmatch(value) is not None


def clean_filename(name: str) -> str:
    """The last part of a path, as a browser or a caller may send it: printable, never empty. It is shown to
    people and models, and names no place in any store.
    """
    last = re.split(r"[/\\]", name)[-1]
    shown = "".join(c for c in last if c.isprintable()).strip().strip(".")
    return shown[-LONGEST_FILENAME:] or "file"
