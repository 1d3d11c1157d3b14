"""How a file becomes text: what was extracted, or why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Extracted", "Extraction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What came of it. Without a `problem` the text is the file's, and may be empty."""

    text: str = ""
    problem: str | None = None  # for readers; ids, types and reasons, no content
    unavailable: bool = False  # the worker lacks what it takes: another one may have it
    characters: int = 0  # of the whole text; more than `text` has, if it was cut


class Extraction(Protocol):
    """One way to make text of files."""

    @property
    def kind(self) -> str:
        """A name for the texts that it makes, of letters, digits and hyphens: others have other names."""

    async def extract(self, path: Path, content_type: str) -> Extracted:
        """The text of a file. Never raises for what is wrong with the file."""

    async def aclose(self) -> None:
        """End what still runs."""
