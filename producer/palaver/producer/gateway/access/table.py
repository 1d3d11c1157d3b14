"""The API keys, as this process knows them."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Final

from palaver.producer.async_client import AsyncClient
from palaver.shared.api_keys import ApiKey, parse_api_key
from palaver.shared.errors import UnauthorizedError
from palaver.shared.ledger import operations

FRESH_SECONDS: Final = 5.0
"""A key that was revoked is taken for so long at most."""

_AT_ONCE: Final = 200

log = logging.getLogger("palaver.gateway")


class KeyTable:
    """The ledger's keys, each asked for anew when what is known of it is old.

    `may_be_open`: whether anybody is served while there has never been a key.
    """

    def __init__(self, client: AsyncClient, *, may_be_open: bool) -> None:
        self._client = client
        self._may_be_open = may_be_open
        self._looked = float("-inf")  # for any key, by the monotonic clock
        self._known: dict[str, tuple[ApiKey, float]] = {}  # and when it was read

    async def is_open(self) -> bool:
        """Whether no key is asked for. A process that has seen one asks for one ever after."""
        if self._may_be_open and time.monotonic() - self._looked > FRESH_SECONDS:
            ledger = self._client.ledger
            self._may_be_open = not await ledger.query(operations.api_keys(ledger.keys))
            self._looked = time.monotonic()
            if not self._may_be_open:
                log.info("keys_required: there are API keys now, so this gateway asks for one")
        return self._may_be_open

    async def key(self, text: str) -> ApiKey:
        """The key that this is. Raises UnauthorizedError, LedgerUnavailableError."""
        parsed = parse_api_key(text)
        if parsed is None:
            raise UnauthorizedError
        key_id, secret = parsed
        key = await self._key(key_id)
        if key is None or not key.is_opened_by(secret) or key.has_expired(time.time()):
            raise UnauthorizedError
        return key

    async def still_takes(self, key: ApiKey) -> bool:
        """Whether a key that was taken is one that is taken now."""
        known = await self._key(key.id)
        return known is not None and known.digest == key.digest and not known.has_expired(time.time())

    async def learn(self, ids: Collection[str]) -> None:
        """Ask at once for all of these that are not freshly known. Raises LedgerUnavailableError."""
        ledger, stale = self._client.ledger, [key_id for key_id in ids if not self._is_fresh(key_id)]
        for start in range(0, len(stale), _AT_ONCE):
            asked = stale[start : start + _AT_ONCE]
            found = await ledger.query(operations.some_api_keys(ledger.keys, asked))
            for key_id, key in zip(asked, found, strict=True):
                if key is None:  # nothing is kept of what somebody made up
                    self._known.pop(key_id, None)
                else:
                    self._known[key_id] = (key, time.monotonic())

    async def _key(self, key_id: str) -> ApiKey | None:
        await self.learn((key_id,))
        known = self._known.get(key_id)
        return None if known is None else known[0]

    def _is_fresh(self, key_id: str) -> bool:
        known = self._known.get(key_id)
        return known is not None and time.monotonic() - known[1] < FRESH_SECONDS
