"""The clients under the faces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache, cached_property
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

    @classmethod
    def of_process(cls) -> Clients:
        """The clients of this process, configured by its environment. Nobody has to close them."""
        return _of_process(os.getpid())

    @cached_property
    def blocking(self) -> Client:
        """The client of programs without an event loop."""
        return Client(self.settings)

    @cached_property
    def awaited(self) -> AsyncClient:
        """The client of programs with an event loop."""
        return AsyncClient(self.settings)

    @cached_property
    def catalog(self) -> Catalog | None:
        """The profiles that are configured here; None if there are none."""
        return own_catalog(self.settings)

    def profile(self, endpoint: Endpoint) -> str | None:
        """The profile that an address in code means; see `Endpoint.profile`."""
        return endpoint.profile(self.catalog, self._seal)

    def close(self) -> None:
        """Close the blocking client's connections."""
        self.blocking.close()

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


@cache
def _of_process(pid: int) -> Clients:
    # By its id: the thread of a client does not follow into a forked child.
    return Clients()
