"""The API keys, as this process knows them."""

from __future__ import annotations

import logging
import time
from typing import Final

from palaver.producer.async_client import AsyncClient
from palaver.shared.api_keys import ApiKey, parse_api_key
from palaver.shared.errors import UnauthorizedError
from palaver.shared.ledger import operations

FRESH_SECONDS: Final = 5.0
"""A key that was revoked is taken for so long at most."""

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

    async def _key(self, key_id: str) -> ApiKey | None:
        known = self._known.get(key_id)
        if known is not None and time.monotonic() - known[1] < FRESH_SECONDS:
            return known[0]
        ledger = self._client.ledger
        key = await ledger.query(operations.api_key(ledger.keys, key_id))
        if key is None:  # nothing is kept of what somebody made up
            self._known.pop(key_id, None)
        else:
            self._known[key_id] = (key, time.monotonic())
        return key
