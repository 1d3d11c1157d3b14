"""Places at hosts: a few requests of a tenant at once at each, a few more that wait for one, and no more than
these, so that a slow host holds up none of the others, and nobody holds up another tenant there.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["AT_ONE_HOST", "Places"]

AT_ONE_HOST = 10


@dataclass(slots=True)
class _Host:
    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONE_HOST))
    users: int = 0  # with a place, or waiting for one


class Places:
    """Places of one event loop. Whoever waits has at most `rows` rounds of others before the own one."""

    def __init__(self, *, rows: int) -> None:
        self._most = (rows + 1) * AT_ONE_HOST
        self._hosts: dict[tuple[str | None, str], _Host] = {}

    def full(self, tenant: str | None, host: str) -> bool:
        """Whether as many of the tenant's wait there as may."""
        at = self._hosts.get((tenant, host))
        return at is not None and at.users >= self._most

    @asynccontextmanager
    async def at(self, tenant: str | None, host: str) -> AsyncIterator[None]:
        """A place of the tenant's there; it is waited for."""
        at = self._hosts.setdefault((tenant, host), _Host())
        at.users += 1
        try:
            async with at.places:
                yield
        finally:
            at.users -= 1
            if not at.users:
                del self._hosts[tenant, host]
