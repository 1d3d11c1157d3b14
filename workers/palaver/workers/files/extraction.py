"""How a file becomes text: what was extracted, or why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from palaver.shared.stores import FileRef

__all__ = ["Extracted", "Extraction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What came of it. Without a `problem` the text is the file's, and may be empty."""

    text: str = field(default="", repr=False)
    problem: str | None = None  # for readers; ids, types and reasons, no content
    unavailable: bool = False  # the worker lacks what it takes: another one may have it
    characters: int = 0  # of the whole text; more than `text` has, if it was cut

    def told(self, ref: FileRef) -> tuple[str, str, str]:
        """A warning of the problem: code, message, parameter."""
        code = "extraction_unavailable" if self.unavailable else "extraction_failed"
        return code, f"The text of {ref.filename!r} cannot be had: {self.problem}", f"files.{ref.id}"


class Extraction(Protocol):
    """One way to make text of files."""

    @property
    def kind(self) -> str:
        """A name for the texts that it makes, of letters, digits and hyphens: others have other names."""

    async def extract(self, path: Path, content_type: str) -> Extracted:
        """The text of a file. Never raises for what is wrong with the file."""

    async def aclose(self) -> None:
        """End what still runs."""
