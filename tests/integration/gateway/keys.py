"""API keys for tests."""

from typing import Any

from palaver.shared.api_keys import ApiKey
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.settings import Settings


def make_key(settings: Settings, **fields: Any) -> str:
    """A new one, as its client sends it."""
    text, key = ApiKey.make(**fields)
    with SyncLedger(settings) as ledger:
        ledger.query(operations.keep_api_key(ledger.keys, key))
    return text
