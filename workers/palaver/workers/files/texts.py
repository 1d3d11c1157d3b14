"""The door to the text of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from palaver.shared.stores import FileRef

__all__ = ["FileTexts", "Warn"]

Warn = Callable[[str, str, str | None], None]
"""Tells the readers of a job what is left out: code, message, the field concerned."""


class FileTexts(Protocol):
    """The text of stored files. Everything here runs on the loop of the streams, and never holds it up."""

    async def text(
        self, file_id: str, user: str | None, tenant: str | None = None, *, warn: Warn | None = None
    ) -> str:
        """The text of a file, extracted once and remembered; empty for an unknown id, and for a file whose
        text cannot be had, which `warn` is told.

        Raises FileRefusedError for another user's file, FileStoreUnavailableError.
        """

    async def attached(
        self, file_ids: Sequence[str], user: str | None, tenant: str | None = None
    ) -> list[FileRef]:
        """What is known of these files, in their order; unknown ones are left out. Raises as `text`."""
