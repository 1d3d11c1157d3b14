"""The clients under the faces."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Self

from palaver.producer.async_client import AsyncClient
from palaver.producer.client import Client
from palaver.producer.interfaces.endpoint import Endpoint
from palaver.producer.prepare import own_catalog
from palaver.shared.profiles import Catalog
from palaver.shared.settings import Settings


class Clients:
    """A blocking client and one for event loops, with the same settings, each made at its first use."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.load()
        self._making = threading.RLock()
        self._blocking: Client | None = None
        self._awaited: AsyncClient | None = None

    @classmethod
    def of_process(cls) -> Clients:
        """The clients of this process, configured by its environment; others once that is another one.

        Nobody has to close them.
        """
        # By the process's id: the thread of a client does not follow into a forked child.
        pid, environment = os.getpid(), _environment()
        known = _of_process.get(pid)
        if known is None or known[0] != environment:
            if known is not None:
                known[1].close()
            known = _of_process[pid] = (environment, cls())
        return known[1]

    @property
    def blocking(self) -> Client:
        """The client of programs without an event loop."""
        with self._making:  # two of them, and a profile would be sealed for one alone
            self._blocking = self._blocking or Client(self.settings)
            return self._blocking

    @property
    def awaited(self) -> AsyncClient:
        """The client of programs with an event loop."""
        with self._making:
            self._awaited = self._awaited or AsyncClient(self.settings)
            return self._awaited

    @cached_property
    def catalog(self) -> Catalog | None:
        """The profiles that are configured here; None if there are none."""
        return own_catalog(self.settings)

    def profile(self, endpoint: Endpoint) -> str | None:
        """The profile that an address in code means; see `Endpoint.profile`."""
        return endpoint.profile(self.catalog, self._seal)

    def close(self) -> None:
        """Close the blocking client's connections."""
        if self._blocking is not None:
            self._blocking.close()

    async def aclose(self) -> None:
        """Close the connections of both on the running loop."""
        self.close()
        await self.awaited.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _seal(self, table: Mapping[str, Any]) -> str:
        self.blocking.seal(table)
        return self.awaited.seal(table)


_of_process: dict[int, tuple[frozenset[tuple[str, str]], Clients]] = {}


def _environment() -> frozenset[tuple[str, str]]:
    return frozenset(item for item in os.environ.items() if item[0].upper().startswith("PALAVER_"))
