"""Extraction in processes of their own, one for each file: a parser may compute for seconds, crash, hang or
eat memory, and no stream waits, and no other file sees it.

A process for a file costs a third of a second, which the cache spends once; one that stayed would save that,
keep a hundred megabytes, and mix the files of strangers.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

import orjson

from palaver.shared.settings import Settings
from palaver.workers.event_log import event_logger
from palaver.workers.files.extraction import Extracted
from palaver.workers.files.extractor import DEFAULT

__all__ = ["Processes"]

logger = event_logger("palaver.workers.files")

_PLACES: Final = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "TESSDATA_PREFIX")
KEPT: Final = (*_PLACES, "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ")
"""What a process has of the worker's environment, and no more: keys stand there under any name, and a parser
that a stranger's file has taken over should find none.
"""

BYTES_PER_CHARACTER: Final = 6  # of JSON, at most
BESIDE_THE_TEXT: Final = 4096
LATE = 5.0  # seconds after which a process ends itself, when whoever is to end it cannot


class Processes:
    """Runs a `TextExtractor`, so many at once as the settings say; the others wait for their turn."""

    def __init__(self, settings: Settings) -> None:
        self._place = settings.text_extractor or DEFAULT
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.extract_processes, thread_name_prefix="palaver-extract")
        self._running: set[subprocess.Popen[bytes]] = set()

    @property
    def kind(self) -> str:
        """See `Extraction.kind`."""
        made_by = f"{self._place}\n{self._settings.extract_language}\n{self._settings.extract_characters}"
        return hashlib.sha256(made_by.encode()).hexdigest()[:16]

    async def extract(self, path: Path, content_type: str) -> Extracted:
        """See `Extraction.extract`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, path, content_type)

    async def aclose(self) -> None:
        """See `Extraction.aclose`."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._running):
            _end(process)

    def _run(self, path: Path, content_type: str) -> Extracted:
        settings = self._settings
        memory = settings.extract_megabytes * 1024 * 1024
        limits = (settings.extract_seconds + LATE, memory, settings.extract_characters)
        words = [self._place, str(path), settings.extract_language, *map(str, limits)]
        with TemporaryFile(dir=path.parent) as answer:  # a pipe would have no bound but the worker's memory
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, "-m", "palaver.workers.files.child", *words],
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=subprocess.DEVNULL,
                env=_environment(settings.extract_environment, folder=path.parent),
                start_new_session=True,
            )
            self._running.add(process)
            try:
                process.wait(timeout=settings.extract_seconds)
            except subprocess.TimeoutExpired:
                return Extracted(problem=f"it took longer than {settings.extract_seconds:g} seconds")
            finally:
                self._running.discard(process)
                _end(process)
                process.wait()
            answer.seek(0)
            said = _said(answer.read(settings.extract_characters * BYTES_PER_CHARACTER + BESIDE_THE_TEXT))
        return _read(said if process.returncode == 0 else {}, process.returncode, content_type)


def _environment(more: str, *, folder: Path) -> dict[str, str]:
    """Of a process whose only folder is this one; `more` names further variables, separated by commas."""
    names = (*KEPT, *(name.strip() for name in more.split(",")))
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "HOME": str(folder), "TMPDIR": str(folder)}


def _said(answer: bytes) -> dict[str, Any]:
    """Nothing, if a parser that was taken over answers whatever it likes, or without end."""
    try:
        said = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _read(said: Mapping[str, Any], code: int, content_type: str) -> Extracted:
    match said:
        case {"unavailable": str(lack)}:
            return Extracted(problem=lack, unavailable=True)
        case {"failed": str(reason)}:
            return Extracted(problem=f"the extractor failed ({reason})")
        case {"text": str(text), "characters": int(characters)}:
            return Extracted(text=text, characters=characters)
    logger.warning("extraction.died", type=content_type, code=code)
    return Extracted(problem="the process that read it died")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, if it still runs, and what it has started and left behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
