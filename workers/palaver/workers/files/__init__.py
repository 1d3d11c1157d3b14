"""The files of jobs: their text, and how a model is told of them. Loaded at first use: the process that
extracts a text needs little of it.
"""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.workers.files.extractor import ExtractionUnavailable, TextExtractor
    from palaver.workers.files.job_files import JobFiles
    from palaver.workers.files.texts import FileTexts

_HOMES: Final = {
    "ExtractionUnavailable": "extractor",
    "FileTexts": "texts",
    "JobFiles": "job_files",
    "TextExtractor": "extractor",
}

__all__ = ["ExtractionUnavailable", "FileTexts", "JobFiles", "TextExtractor"]

__getattr__, __dir__ = _lazily(__name__, _HOMES)
