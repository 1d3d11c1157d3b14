"""`palaver provider pause|resume`: an operator has a provider asked by nobody, and asked again."""

from palaver.producer.cli.operator import operator
from palaver.producer.cli.terminal import write, write_json
from palaver.shared.errors import ValidationError
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.profiles import Catalog
from palaver.shared.settings import Settings


def pause(name: str, *, seconds: float, as_json: bool) -> int:
    """Pause it. Raises ValidationError for a profile that is neither served nor configured here."""
    settings = Settings.load()
    with SyncLedger(settings) as ledger:
        _check(name, settings, ledger)
        ledger.query(operations.pause_profile(ledger.keys, name, by=operator(), seconds=seconds))
    _tell(name, paused=True, seconds=seconds, as_json=as_json)
    return 0


def resume(name: str, *, as_json: bool) -> int:
    """Resume it; one that was not paused stays as it is."""
    with SyncLedger(Settings.load()) as ledger:
        was_paused = ledger.query(operations.resume_profile(ledger.keys, name, by=operator()))
    if was_paused or as_json:
        _tell(name, paused=False, as_json=as_json)
    else:
        write(f"{name} was not paused\n")
    return 0


def _check(name: str, settings: Settings, ledger: SyncLedger) -> None:
    """A name that is misspelt would be a pause that nobody notices to be missing."""
    served = ledger.announced_profiles()
    aliases = {profile.name for profile in served if profile.data["kind"] == "alias"}
    known = {profile.name for profile in served} - aliases | Catalog.load(settings).profiles.keys()
    if name in aliases:
        raise ValidationError(f"{name!r} is an alias; pause the profiles that it names", param="NAME")
    if name not in known:
        listed = ", ".join(sorted(known))
        raise ValidationError(f"no worker serves a profile {name!r}; known are: {listed}", param="NAME")


def _tell(name: str, *, paused: bool, as_json: bool, seconds: float | None = None) -> None:
    if as_json:
        write_json({"profile": name, "paused": paused, "seconds": seconds})
    else:
        write(f"{name} is {'paused' if paused else 'asked again'}\n")
