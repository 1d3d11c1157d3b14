"""The providers that a worker serves now: `palaver.toml` and the files of keys may change while it runs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palaver.shared.errors import ConfigurationError
from palaver.shared.profiles import Catalog, ModelRef
from palaver.shared.settings import Settings
from palaver.workers.event_log import event_logger
from palaver.workers.http import HttpClient
from palaver.workers.providers import Provider, create
from palaver.workers.serving import Serving

__all__ = ["Served"]

logger = event_logger("palaver.workers.service")

Stamps = dict[str, tuple[int, int, int] | None]
"""When a file was written, its size and its inode; None for one that is not there."""


@dataclass(slots=True)
class _Made:
    """A provider, and how many requests it is busy with."""

    provider: Provider
    requests: int = 0
    retired: bool = False  # its profile has changed or is gone: closed after its last request


class Served:
    """The catalog as it was read last, and the providers of its profiles, each made at its first request.

    A catalog that is given is never read again.
    """

    def __init__(self, settings: Settings, http: HttpClient, catalog: Catalog | None = None) -> None:
        self._settings = settings
        self._http = http
        self._made: dict[str, _Made] = {}
        self._retired: list[_Made] = []
        self._fixed = catalog is not None
        self._catalog = Catalog.load(settings) if catalog is None else catalog
        self._stamps = self._stamped()
        self._serving = Serving.of(self._catalog)

    @property
    def announcements(self) -> Mapping[str, dict[str, Any]]:
        """What is told of the profiles and aliases, by name."""
        return self._serving.announcements

    @property
    def unserved(self) -> Mapping[str, str]:
        """The profiles without a key, and why."""
        return self._serving.unserved

    @property
    def profiles(self) -> list[str]:
        """The names of those that are served."""
        return sorted(self._catalog.profiles.keys() - self.unserved.keys())

    def warn(self) -> None:
        """Log what somebody who wrote the configuration would not expect."""
        self._serving.warn(self._catalog)

    def resolve(self, model: str | Sequence[str] | None) -> list[ModelRef]:
        """See `Catalog.resolve`."""
        return self._catalog.resolve(model)

    @asynccontextmanager
    async def lend(self, profile: str) -> AsyncIterator[Provider]:
        """The provider of this profile, for one request: also of one that is retired meanwhile.

        Raises ConfigurationError, or ValidationError for an unknown profile.
        """
        made = self._make(profile)
        made.requests += 1
        try:
            yield made.provider
        finally:
            made.requests -= 1
            await self._close_unused(made)

    async def renew(self) -> bool:
        """Read the catalog again, if one of its files was written; whether it is another one now.

        One that cannot be read, or cannot be served, is told in the log, and changes nothing.
        """
        if self._fixed or (stamps := self._stamped()) == self._stamps:
            return False
        self._stamps = stamps
        try:
            catalog = Catalog.load(self._settings)
            serving = Serving.of(catalog)
        except ConfigurationError as error:
            logger.error("catalog.refused", reason=str(error))
            return False
        before, self._catalog, self._serving = self._catalog, catalog, serving
        self._stamps = self._stamped()  # it may name other files
        for name in [name for name in self._made if before.profiles[name] != catalog.profiles.get(name)]:
            made = self._made.pop(name)
            made.retired = True
            self._retired.append(made)
            await self._close_unused(made)
        logger.info("catalog.renewed", profiles=len(self.profiles), unserved=len(self.unserved))
        self.warn()
        return True

    async def aclose(self) -> None:
        """Close every provider, then the connections that they share."""
        for made in [*self._made.values(), *self._retired]:
            await made.provider.aclose()
        self._made, self._retired = {}, []
        await self._http.aclose()

    def _make(self, profile: str) -> _Made:
        if profile not in self._made:
            self._made[profile] = _Made(create(self._catalog.profile(profile), self._http))
        return self._made[profile]

    async def _close_unused(self, made: _Made) -> None:
        if made.retired and not made.requests and made in self._retired:
            self._retired.remove(made)
            await made.provider.aclose()

    def _stamped(self) -> Stamps:
        files = [profile.api_key_file for profile in self._catalog.profiles.values()]
        return {file: _stamp(file) for file in [self._settings.config, *filter(None, files)]}


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()  # follows links: a mounted secret is a link that is turned to another file
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
