"""`palaver keys create|list|revoke`: the gateway's API keys. A key is shown once, when it is made."""

import time
from datetime import UTC, datetime
from typing import Any

from palaver.producer.cli.terminal import columns, note, one_line, write, write_json
from palaver.shared.api_keys import ApiKey
from palaver.shared.errors import ValidationError
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.settings import Settings

HEADINGS = (
    *("ID", "NAME", "TENANT", "USER", "MODELS", "TOOLS", "AGENTS", "EXTRA"),
    *("PRIORITY", "A MINUTE", "CREATED", "EXPIRES"),
)
_DAY = 24 * 3600


def create(*, days: float | None, as_json: bool, **fields: Any) -> int:
    """Make a key and show it."""
    now = time.time()
    expires = None if days is None else now + days * _DAY
    text, key = ApiKey.make(**fields, created=now, expires=expires)
    with SyncLedger(Settings.load()) as ledger:
        ledger.query(operations.keep_api_key(ledger.keys, key))
    if as_json:
        write_json({"key": text, **_document(key)})
    else:
        write(f"{text}\n")
        note("it is not shown again")
    return 0


def show(*, as_json: bool) -> int:
    """All keys, without their secrets."""
    with SyncLedger(Settings.load()) as ledger:
        keys = sorted(ledger.query(operations.api_keys(ledger.keys)).values(), key=lambda key: key.created)
    if as_json:
        for key in keys:
            write_json(_document(key))
    elif keys:
        write(columns([HEADINGS, *map(_row, keys)], indent=""))
    else:
        note("no API keys")
    return 0


def revoke(key_id: str, *, as_json: bool) -> int:
    """Have it taken nowhere any more. 2 if there is none of this id."""
    with SyncLedger(Settings.load()) as ledger:
        if not ledger.query(operations.drop_api_key(ledger.keys, key_id)):
            raise ValidationError(f"there is no API key {key_id[:64]!r}; palaver keys list shows their ids")
    if as_json:
        write_json({"id": key_id, "revoked": True})
    else:
        write(f"{key_id}\n")
    return 0


def _document(key: ApiKey) -> dict[str, Any]:
    return key.model_dump(mode="json", exclude={"digest"})


def _row(key: ApiKey) -> tuple[str, ...]:
    return (
        key.id,
        one_line(key.name or "", 40),
        one_line(key.tenant or "", 40),
        one_line(key.user or "", 40),
        one_line(", ".join(key.models or ("all",)), 60),
        _listed(key.tools),
        _listed(key.agents),
        one_line(", ".join(key.extra or ("harmless" if key.is_restricted else "usual",)), 60),
        str(key.priority_most),
        str(key.requests_per_minute or "any"),
        _day(key.created),
        _day(key.expires),
    )


def _listed(names: list[str] | None) -> str:
    return one_line("all" if names is None else ", ".join(names) or "none", 60)


def _day(at: float | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, UTC).date().isoformat()
