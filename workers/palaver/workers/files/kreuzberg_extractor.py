"""Text by kreuzberg; of images and scans by tesseract, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from palaver.workers.files.extractor import ExtractionUnavailable, TextExtractor

# Its own cache would keep the text of users' files; tesseract's threads are slower than one of them.
os.environ.update(XDG_CACHE_HOME=os.environ.get("TMPDIR", "/nonexistent"), OMP_THREAD_LIMIT="1")
try:
    import kreuzberg
except ModuleNotFoundError:
    kreuzberg = None  # type: ignore[assignment] # which is said of a file that asks for it

_PICTURES: Final = frozenset((".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".pdf"))
"""Files that may have no text but the one that can be seen."""


class KreuzbergExtractor(TextExtractor):
    """Reads text, PDF, office documents, mails and web pages; images and scans as far as tesseract can."""

    def __init__(self) -> None:
        if kreuzberg is None:
            problem = (
                "The worker has no kreuzberg, which reads such files: pip install 'palaver[extraction]'."
            )
            raise ExtractionUnavailable(problem)

    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        """See `TextExtractor.extract_text`."""
        picture = Path(file_path).suffix in _PICTURES
        lacking = _lacking(lang) if picture else None
        text = kreuzberg.extract_file_sync(
            file_path, config=_config(lang, see=picture and not lacking)
        ).content
        if lacking is not None and not text.strip():
            raise ExtractionUnavailable(f"The file has no text but the one that can be seen, and {lacking}.")
        return text


def _config(lang: str, *, see: bool) -> kreuzberg.ExtractionConfig:
    if not see:
        return kreuzberg.ExtractionConfig(use_cache=False, disable_ocr=True)  # type: ignore[call-arg] # its stubs
    tesseract = kreuzberg.TesseractConfig(use_cache=False, language=lang)
    seeing = kreuzberg.OcrConfig(backend="tesseract", language=lang, tesseract_config=tesseract)
    return kreuzberg.ExtractionConfig(use_cache=False, ocr=seeing)


def _lacking(lang: str) -> str | None:
    """What of tesseract is not there. Asked before: kreuzberg would look for languages elsewhere."""
    program = shutil.which("tesseract")
    if program is None:
        return "the worker has no tesseract"
    command = (program, "--list-langs")
    listed = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - of PATH
    missing = set(lang.split("+")) - set(listed.stdout.split())
    return f"the worker's tesseract has no language {', '.join(sorted(missing))}" if missing else None
