"""Names that users of our users choose: looked up as often as they like, and not remembered."""

import socket
from collections.abc import Callable
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["Forgetful"]

LOOKUPS: Final = 500
"""c-ares keeps each answer for up to an hour, some kilobytes of it, whatever its own time to live says."""


class Forgetful(AbstractResolver):
    """Has another resolver made after so many lookups, and the one before closed after its last."""

    def __init__(self, make: Callable[[], AbstractResolver], *, lookups: int = LOOKUPS) -> None:
        self._make = make
        self._lookups = lookups
        self._current = make()
        self._asked = 0
        self._pending: dict[AbstractResolver, int] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`."""
        if self._asked == self._lookups:
            await self._renew()
        self._asked += 1
        resolver = self._current
        self._pending[resolver] = self._pending.get(resolver, 0) + 1
        try:
            return await resolver.resolve(host, port, family)
        finally:
            self._pending[resolver] -= 1
            await self._close_unless_used(resolver)

    async def close(self) -> None:
        """See `AbstractResolver`."""
        for resolver in {self._current, *self._pending}:
            await resolver.close()

    async def _renew(self) -> None:
        before, self._current, self._asked = self._current, self._make(), 0
        await self._close_unless_used(before)

    async def _close_unless_used(self, resolver: AbstractResolver) -> None:
        if self._pending.get(resolver):
            return
        self._pending.pop(resolver, None)
        if resolver is not self._current:
            await resolver.close()
