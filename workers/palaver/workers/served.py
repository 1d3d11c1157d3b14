"""The providers that a worker serves now: `palaver.toml` and the files of keys may change while it runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from palaver.shared.errors import ConfigurationError
from palaver.shared.file_stamps import Stamps, stamps_of
from palaver.shared.profiles import SEALED, Catalog, Limits, ModelRef, Profile
from palaver.shared.sealing import is_sealed
from palaver.shared.settings import Settings
from palaver.workers.event_log import event_logger
from palaver.workers.lending import Lending, Loan
from palaver.workers.sealed import SealedProfiles
from palaver.workers.serving import Serving

__all__ = ["Served"]

logger = event_logger("palaver.workers.served")


class Served:
    """The catalog as it was read last, the sealed profiles that jobs name, and the providers of both.

    A catalog that is given is never read again.
    """

    def __init__(
        self,
        settings: Settings,
        lending: Lending,
        sealed: SealedProfiles,
        catalog: Catalog | None = None,
    ) -> None:
        self._settings = settings
        self._lending = lending
        self._sealed = sealed
        self._fixed = catalog is not None
        self._stamps: Stamps = {}
        if catalog is None:
            catalog, self._stamps = _read(settings, {})
        self._catalog = catalog
        self._serving = Serving.of(self._catalog)

    @property
    def announcements(self) -> Mapping[str, dict[str, Any]]:
        """What is told of the profiles and aliases, by name."""
        return self._serving.announcements

    @property
    def unserved(self) -> Mapping[str, str]:
        """The profiles that cannot be served, and why."""
        return self._serving.unserved

    @property
    def profiles(self) -> list[str]:
        """The names of those that are served."""
        return sorted(self._catalog.profiles.keys() - self.unserved.keys())

    def limits_of(self, profile: Profile) -> Limits:
        """Those of its name now; of a sealed one, which no file has, its own."""
        return self._catalog.profiles.get(profile.name, profile).limits

    def warn(self) -> None:
        """Log what somebody who wrote the configuration would not expect."""
        self._serving.warn()

    async def resolve(self, models: Sequence[str]) -> list[ModelRef]:
        """The models that a job names, in the order of fallback; see `Catalog.resolve`. Sealed profiles are
        opened by this: raises ConfigurationError for one that is gone or cannot be opened here.
        """
        if not models:
            return self._catalog.resolve()
        found: list[ModelRef] = []
        for model in models:
            if is_sealed(model):
                profile, _, name = model.partition("/")
                found.append(ModelRef((await self._profile(profile)).name, name))
            else:
                found += self._catalog.resolve(model)
        return list(dict.fromkeys(found))

    async def lend(self, profile: str) -> Loan:
        """The provider of this profile, for one request: also of one that changes meanwhile.

        Raises ConfigurationError, or ValidationError for an unknown profile.
        """
        return self._lending.lend(await self._profile(profile))

    async def renew(self) -> bool:
        """Read the catalog again, if one of its files was written; whether it is another one now.

        One that cannot be read, or cannot be served, is told in the log, and changes nothing.
        """
        if self._fixed or (stamps := stamps_of(self._stamps)) == self._stamps:
            return False
        self._stamps = stamps
        try:
            catalog, stamps = _read(self._settings, stamps)
            serving = Serving.of(catalog)
        except ConfigurationError as error:
            logger.error("catalog.refused", reason=str(error))
            return False
        before, self._catalog, self._serving = self._catalog, catalog, serving
        self._stamps = stamps
        for name, profile in before.profiles.items():
            if profile != catalog.profiles.get(name):
                await self._lending.retire(name)
        logger.info("catalog.renewed", profiles=len(self.profiles), unserved=len(self.unserved))
        self.warn()
        return True

    async def aclose(self) -> None:
        """Close every provider, then the connections that they share."""
        await self._lending.aclose()

    async def _profile(self, name: str) -> Profile:
        if not name.startswith(SEALED):
            return self._catalog.profile(name)
        profile = await self._sealed.profile(name)
        for forgotten in self._sealed.forget_oldest():
            await self._lending.retire(forgotten)
        return profile


def _read(settings: Settings, stamps: Stamps) -> tuple[Catalog, Stamps]:
    """The catalog, and how each of its files was before it was read: who writes one meanwhile has it read
    again. `stamps` are known; a file that they have not is read once more.
    """
    while True:
        catalog = Catalog.load(settings)
        keys = [profile.api_key_file for profile in catalog.profiles.values()]
        files = [settings.config, *filter(None, keys)]
        if stamps.keys() >= set(files):
            return catalog, {file: stamps[file] for file in files}
        stamps = {**stamps_of(files), **stamps}
