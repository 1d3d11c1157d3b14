"""The sealed profiles of a client: what it has sealed, and what its jobs need of the ledger; pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from palaver.shared.errors import ConfigurationError, PalaverError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Keys, Operation, operations
from palaver.shared.plain import refuse
from palaver.shared.profiles import SEALED
from palaver.shared.sealing import Seal, SealedProfile, sealed_in
from palaver.shared.settings import Settings

REMEMBERED: Final = 10_000
"""Profiles whose content a client knows; of older ones it knows that they are in the ledger."""
SPARE_SECONDS: Final = 60.0
"""For clocks that differ."""


class SealedProfiles:
    """One per client. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seal: Seal | None = None
        self._known: dict[str, SealedProfile] = {}

    def add(self, table: Mapping[str, Any]) -> str:
        """Seal a profile; its name. Raises ConfigurationError where there is no `PALAVER_SECRET`."""
        self._seal = self._seal or Seal.of(self._settings)
        if self._seal is None:
            raise ConfigurationError("PALAVER_SECRET is not set, here and at the workers", param="secret")
        sealed = self._seal.seal(table)
        self._known.pop(sealed.name, None)
        self._known[sealed.name] = sealed
        while len(self._known) > REMEMBERED:
            self._known.pop(next(iter(self._known)), None)
        return sealed.name

    def needed_by(self, jobs: Sequence[ChatJob]) -> dict[str, float]:
        """The profiles that these jobs name, and for how many seconds from now."""
        lives: dict[str, float] = {}
        for job in jobs:
            for name in sealed_in(job.models):
                lives[name] = max(lives.get(name, 0.0), self._life(job))
        return lives

    def keeping(self, keys: Keys, lives: Mapping[str, float]) -> list[Operation[bool]]:
        """What has to be done for each of these profiles before it is needed."""
        return [self._keep(keys, name, seconds) for name, seconds in lives.items()]

    def _keep(self, keys: Keys, name: str, seconds: float) -> Operation[bool]:
        known = self._known.get(name)
        return operations.keep_profile(keys, name, known.content if known else b"", seconds=seconds)

    def _life(self, job: ChatJob) -> float:
        wait = 0.0 if job.run_at is None else max(0.0, job.run_at - time.time())
        return wait + job.deadline + self._settings.retention + SPARE_SECONDS


def sealed_for(profile: str, seconds: float) -> dict[str, float]:
    """The profile, if it is a sealed one, and for how many seconds whoever asks about it needs it."""
    return {profile: seconds + SPARE_SECONDS} if profile.startswith(SEALED) else {}


def check_kept(names: Iterable[str], kept: Sequence[bool | PalaverError]) -> None:
    """Raises the ledger's error, or ValidationError (param `model`) for a profile that nobody has."""
    for name, there in zip(names, kept, strict=True):
        if isinstance(there, PalaverError):
            raise there
        if not there:
            refuse("model", f"the sealed profile {name[:64]!r} is not there any more; seal it again")
