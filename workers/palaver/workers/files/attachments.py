"""What a model is told of a job's files, before the words of the user's last message: their text, between
`<file name="…" type="…">` and `</file>`; and images as such, where every model of the job can see them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import quoteattr

from palaver.shared.jobs import ChatJob
from palaver.shared.messages import ImagePart, ImageURL, Message, Part, Role, TextPart
from palaver.shared.stores import FileRef
from palaver.workers.files.job_files import JobFiles
from palaver.workers.files.texts import Warn

__all__ = ["Attachments", "attach"]

SEEN: Final = frozenset(("image/gif", "image/jpeg", "image/png", "image/webp"))
"""Images that all dialects take."""
_MARK: Final = re.compile(r"<(?=\s*/?\s*file\b)", re.IGNORECASE)
LARGEST_IMAGE: Final = 5 * 1024 * 1024
"""Bytes; the least that a provider refuses is more."""


@dataclass(slots=True)
class _Told:
    """What has been made of a job's files so far."""

    parts: list[Part]
    room: int  # characters that may still be told


class Attachments:
    """Makes parts of messages out of files."""

    def __init__(self, files: JobFiles, *, characters: int) -> None:
        self._files = files
        self._characters = characters

    async def of(self, job: ChatJob, warn: Warn, *, see_images: bool) -> list[Part]:
        """The parts for a job's files. What is left out, and what cannot be read, is warned of.

        Raises FileRefusedError, FileStoreUnavailableError, ConfigurationError.
        """
        refs = await self._files.attached(job.files, job.user, job.tenant)
        known = {ref.id for ref in refs}
        for file_id in job.files:
            if file_id not in known:
                gone = f"The file {file_id!r} is not there any more; it is left out."
                warn("file_missing", gone, f"files.{file_id}")
        told = _Told([], self._characters)
        for ref in refs:
            if see_images and ref.type in SEEN and ref.size <= LARGEST_IMAGE:
                await self._show(ref, told)
            else:
                await self._tell(ref, told, warn)
        return told.parts

    async def _show(self, ref: FileRef, told: _Told) -> None:
        content = base64.b64encode(await self._files.content(ref)).decode()
        told.parts.append(TextPart(type="text", text=f"{_opening(ref)}</file>"))
        told.parts.append(
            ImagePart(type="image_url", image_url=ImageURL(url=f"data:{ref.type};base64,{content}"))
        )

    async def _tell(self, ref: FileRef, told: _Told, warn: Warn) -> None:
        extracted = await self._files.read(ref)
        text = extracted.text[: told.room]
        told.room -= len(text)
        if extracted.problem is not None:
            warn(*extracted.told(ref))
            text = "[its text could not be read]"
        elif len(text) < extracted.characters:
            sizes = f"{len(text)} of {extracted.characters} characters"
            warn("file_cut", f"The model is told {sizes} of {ref.filename!r}.", f"files.{ref.id}")
            text += f"\n[cut: {sizes}]"
        told.parts.append(TextPart(type="text", text=f"{_opening(ref)}\n{_enclosed(text)}\n</file>"))


def attach(messages: Sequence[Message], parts: Sequence[Part]) -> list[Message]:
    """The messages, with these parts before the content of the user's last one."""
    if not parts:
        return list(messages)
    last = max((n for n, message in enumerate(messages) if message.role is Role.USER), default=None)
    if last is None:
        return [*messages, Message(role=Role.USER, content=_content(parts, []))]
    said = messages[last].content
    own = said if isinstance(said, list) else [TextPart(type="text", text=said or "")]
    message = messages[last].model_copy(update={"content": _content(parts, own)})
    return [*messages[:last], message, *messages[last + 1 :]]


def _content(parts: Sequence[Part], own: Sequence[Part]) -> str | list[Part]:
    """One text where there is nothing but text: some servers take no lists."""
    both = [*parts, *own]
    texts = [part.text for part in both if isinstance(part, TextPart)]
    return "\n\n".join(texts) if len(texts) == len(both) else both


def _enclosed(text: str) -> str:
    """The text, with no mark in it that a model could take for the end of this file, or for another one."""
    return _MARK.sub("&lt;", text)


def _opening(ref: FileRef) -> str:
    return f"<file name={quoteattr(ref.filename)} type={quoteattr(ref.type)}>"
