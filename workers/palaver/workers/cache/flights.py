"""Of those who ask the same at the same time, on any worker, one asks the provider: it leads, the others
follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from palaver.shared.errors import PalaverError
from palaver.shared.ids import new_token
from palaver.shared.ledger import Follow, Hit, Keys, operations
from palaver.shared.ledger import Lead as Leads
from palaver.shared.ledger.subscriptions import Subscriptions
from palaver.workers.event_log import event_logger
from palaver.workers.link import Link

__all__ = ["Flights", "Lead"]

logger = event_logger("palaver.workers.cache")

LEADERS: Final = 3
"""So many fail before all who follow ask by themselves."""

Found: TypeAlias = Hit | Leads | Follow | None


class Lead:
    """The right to ask for all who ask the same. Whoever has it says at the end what became of it."""

    def __init__(self, link: Link, keys: Keys, digest: str, *, token: str, lease: float) -> None:
        self._link = link
        self._keys = keys
        self._digest = digest
        self._token = token
        self._lease = lease
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the lead inside. Who is out without having left has failed; those who follow are told."""
        self._again()
        try:
            yield
        finally:
            if self._timer is not None:
                self.leave(operations.FAILED)

    def leave(self, word: bytes, answer: bytes = b"", ttl: float = 1.0) -> None:
        """Give up the lead. It is written before anything that the caller writes after this."""
        assert self._timer is not None  # noqa: S101 - it leads, and leaves once
        self._timer.cancel()
        self._timer = None
        leaving = operations.leave_cache(
            self._keys, self._digest, token=self._token, word=word, answer=answer, ttl=ttl
        )
        self._link.post(leaving)

    def _again(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._lease / 3, self._keep)

    def _keep(self) -> None:
        self._link.post(
            operations.enter_cache(self._keys, self._digest, token=self._token, lease=self._lease)
        )
        self._again()


class Flights:
    """Finds an answer or a leader for each request. `most` answers are kept, a lead lasts `lease` seconds
    unless it is kept. Failures of Redis are misses, and no errors; while it is away, everything here waits.
    """

    def __init__(
        self, link: Link, keys: Keys, subscriptions: Subscriptions, *, lease: float, most: int
    ) -> None:
        self._link = link
        self._keys = keys
        self._subscriptions = subscriptions
        self._lease = lease
        self._most = most

    async def enter(self, digest: str) -> bytes | Lead | None:
        """The answer, after waiting for it perhaps; or the lead; or None: ask, for nobody else."""
        token = new_token()
        found = await self._ask(digest, token)
        if isinstance(found, Follow):
            found = await self._follow(digest, token)
        if isinstance(found, Hit):
            return found.answer
        if isinstance(found, Leads):
            return Lead(self._link, self._keys, digest, token=token, lease=self._lease)
        return None

    async def look(self, digest: str) -> bytes | None:
        """The answer, if there is one now."""
        try:
            return await self._link.run(operations.look_in_cache(self._keys, digest))
        except PalaverError as error:
            logger.warning("cache.skipped", error=error.type)
            return None

    def used(self, digest: str) -> None:
        """This answer was stored or used: it is dropped later than others."""
        self._link.post(operations.keep_answer(self._keys, digest, most=self._most))

    async def _follow(self, digest: str, token: str) -> Found:
        """Wait until there is an answer, or the lead is free: of a leader that died, when its lease ends."""
        failures = 0
        async with self._subscriptions.listen(self._keys.answer(digest)) as inbox:
            while failures < LEADERS:
                found = await self._ask(digest, token)
                if not isinstance(found, Follow):
                    return found
                words = await inbox.receive(found.seconds)
                if operations.ALONE in words:
                    return None
                failures += words.count(operations.FAILED)
        return None

    async def _ask(self, digest: str, token: str) -> Found:
        entering = operations.enter_cache(self._keys, digest, token=token, lease=self._lease)
        try:
            return await self._link.run(entering)
        except PalaverError as error:
            logger.warning("cache.skipped", error=error.type)
            return None
