"""`palaver tenants announce`: an operator says what producers are to hold to, as workers do."""

from palaver.producer.cli.terminal import note, write, write_json
from palaver.shared.errors import ConfigurationError
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.settings import Settings
from palaver.shared.tenancy import Tenancy

IN_FORCE_SECONDS = 15.0
"""Beside what another one announces; until then it holds alone."""


def announce(*, none: bool, as_json: bool) -> int:
    """Announce the bounds that are configured here. Raises ConfigurationError for what cannot be read, and
    where nothing is bounded, unless that is meant: `none`.
    """
    settings = Settings.load()
    own = Tenancy(settings).announcements
    if not none and not any(bounds["tenants"] or bounds["jobs"] for bounds in own.values()):
        raise ConfigurationError(
            f"{settings.config} bounds no tenant: announced, it would have no producer hold to any bound. "
            "`--none` says that this is meant.",
            param="tenants",
        )
    with SyncLedger(settings) as ledger:
        ledger.run(operations.announce_bounds(ledger.keys, own, seconds=IN_FORCE_SECONDS))
        found = ledger.query(operations.announced_bounds(ledger.keys))
    others = [each.name for each in found if each.name not in own]
    if as_json:
        write_json({"announced": own, "others": others})
        return 0
    for bounds in own.values():
        write(f"announced the bounds of {len(bounds['tenants'])} tables of tenants\n")
    if others:
        note(
            f"{len(others)} other tables of workers are in force beside it; those of workers that have just "
            "stopped are no more when this is said again, a minute later"
        )
    return 0
