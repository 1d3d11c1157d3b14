"""The sealed profiles that jobs have named lately, opened."""

from palaver.shared.errors import ConfigurationError
from palaver.shared.ledger import AsyncLedger, operations
from palaver.shared.profiles import Profile
from palaver.shared.sealing import Seal, SealedProfile
from palaver.shared.settings import Settings

__all__ = ["SealedProfiles"]

KEPT = 1_000


class SealedProfiles:
    """Those of one worker; `ledger` is asked for those that it has not opened yet."""

    def __init__(self, settings: Settings, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._seal = Seal.of(settings)
        self._opened: dict[str, Profile] = {}  # what was used last is at the end

    async def profile(self, name: str) -> Profile:
        """The profile of this name.

        Raises ConfigurationError for one that is not there, or was sealed with a secret that is not ours.
        """
        profile = self._opened.pop(name, None) or await self._open(name)
        self._opened[name] = profile
        return profile

    def forget_oldest(self) -> list[str]:
        """Forget those that were not used for longest, beyond what is kept; their names."""
        names = list(self._opened)[: max(0, len(self._opened) - KEPT)]
        for name in names:
            del self._opened[name]
        return names

    async def _open(self, name: str) -> Profile:
        if self._seal is None:
            problem = f"PALAVER_SECRET is not set at this worker, which cannot open the profile {name}"
            raise ConfigurationError(problem, provider=name)
        content = await self._ledger.query(operations.sealed_profile(self._ledger.keys, name))
        if content is None:
            problem = f"the sealed profile {name} is not there any more; seal it again"
            raise ConfigurationError(problem, provider=name)
        return self._seal.open(SealedProfile(name, content))
