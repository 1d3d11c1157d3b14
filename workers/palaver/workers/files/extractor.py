"""What makes text of a file: the class to inherit from, and the one that is named by a dotted path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from palaver.workers.imports import class_at

DEFAULT: Final = "palaver.workers.files.kreuzberg_extractor:KreuzbergExtractor"


class ExtractionUnavailable(Exception):  # noqa: N818 - it says what is the matter
    """This machine lacks what it takes to read such a file. The message is told to the job's readers."""


class TextExtractor(ABC):
    """Makes text of a file. Made without arguments, in a process that is made for one file and ends with it;
    what it prints is lost.
    """

    @abstractmethod
    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        """The text of a file; its suffix is that of its type, as far as that is known. `lang` is a language
        as tesseract names it, several joined by `+`.

        Raises ExtractionUnavailable, and whatever it likes for a file that it cannot read: of that only the
        class is told.
        """


def extractor_class(place: str) -> type[TextExtractor]:
    """The class that `package.module.Class` or `package.module:Class` names. Raises ConfigurationError."""
    return class_at("PALAVER_TEXT_EXTRACTOR", place, TextExtractor)  # type: ignore[type-abstract]
