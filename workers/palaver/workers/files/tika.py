"""Extraction by an Apache Tika server (`PUT /tika`): https://cwiki.apache.org/confluence/display/TIKA/TikaServer."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from palaver.shared.errors import ConnectionError, PalaverError
from palaver.shared.jobs import Timeouts
from palaver.shared.settings import Settings
from palaver.workers.event_log import event_logger
from palaver.workers.files.extraction import Extracted
from palaver.workers.http import HttpClient, HttpRequest

__all__ = ["Tika"]

logger = event_logger("palaver.workers.files")

_BYTES_PER_CHARACTER = 4  # of UTF-8, at most


class Tika:
    """Asks the server for the text of files, so many at once as there would be processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = HttpClient()
        self._turn = asyncio.Semaphore(settings.extract_processes)

    @property
    def kind(self) -> str:
        """See `Extraction.kind`."""
        made_by = f"tika\n{self._settings.extract_language}\n{self._settings.extract_characters}"
        return hashlib.sha256(made_by.encode()).hexdigest()[:16]

    async def extract(self, path: Path, content_type: str) -> Extracted:
        """See `Extraction.extract`."""
        async with self._turn:
            content = await asyncio.to_thread(path.read_bytes)
            request = HttpRequest(
                method="PUT",
                url=f"{self._settings.tika_url.rstrip('/')}/tika",
                headers={
                    "accept": "text/plain; charset=UTF-8",
                    "content-type": content_type,
                    "x-tika-ocrlanguage": self._settings.extract_language,
                },
                content=content,
                timeouts=Timeouts(total=self._settings.extract_seconds, read=self._settings.extract_seconds),
            )
            try:
                return await self._ask(request)
            except PalaverError as error:
                logger.warning("extraction.tika_failed", type=content_type, error=error.type)
                away = isinstance(error, ConnectionError)
                return Extracted(problem=f"Tika failed ({error.type})", unavailable=away)

    async def aclose(self) -> None:
        """See `Extraction.aclose`."""
        await self._http.aclose()

    async def _ask(self, request: HttpRequest) -> Extracted:
        most = self._settings.extract_characters
        async with await self._http.send(request) as response:
            if response.status == 204:
                return Extracted()
            if response.status != 200:
                return Extracted(problem=f"Tika cannot read it (status {response.status})")
            body = await response.read(most * _BYTES_PER_CHARACTER)
        text = body.decode("utf-8", "replace")
        return Extracted(text=text[:most], characters=len(text))
