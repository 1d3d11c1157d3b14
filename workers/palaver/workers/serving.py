"""Which of its profiles a worker can serve: found out when it starts, and not by the first job that asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from palaver.shared.errors import ConfigurationError
from palaver.shared.profiles import Catalog, Profile
from palaver.workers.event_log import event_logger
from palaver.workers.http import HttpClient
from palaver.workers.providers import Provider, class_of, create
from palaver.workers.providers.registry import KINDS

__all__ = ["Serving"]

logger = event_logger("palaver.workers.serving")


@dataclass(frozen=True, slots=True)
class Serving:
    """What a worker tells everybody of its profiles and aliases."""

    announcements: Mapping[str, dict[str, Any]]  # by name; aliases have the kind `alias`
    unserved: Mapping[str, str]  # profiles without a key, or with options that are none, and why

    @classmethod
    def of(cls, catalog: Catalog) -> Self:
        """What can be served of this catalog.

        Raises ConfigurationError for a kind that no class serves, and when no profile at all can be served.
        """
        kinds = {name: class_of(profile) for name, profile in catalog.profiles.items()}
        unserved = {
            name: why
            for name, profile in catalog.profiles.items()
            if (why := profile.missing_key() or _problem(profile))
        }
        if len(unserved) == len(catalog.profiles):
            raise ConfigurationError("; ".join(unserved.values()))
        announcements: dict[str, dict[str, Any]] = {}
        for name, kind in kinds.items():
            if name not in unserved:
                profile = catalog.profiles[name]
                announcements[name] = profile.announcement()
                if issubclass(kind, Provider):
                    announcements[name]["models"] = kind.known_models(profile)
                    announcements[name]["several"] = kind.gives_several(profile)
        # A producer without a palaver.toml learns the aliases here, and refuses what nobody serves.
        for name, models in catalog.aliases.items():
            if any(ref.profile not in unserved for ref in catalog.resolve(name)):
                announcements[name] = {"kind": "alias", "models": models}
        return cls(announcements, unserved)

    def warn(self) -> None:
        """Log what somebody who wrote the configuration would not expect."""
        for name, why in self.unserved.items():
            logger.warning("profile.unserved", profile=name, reason=why)


def _problem(profile: Profile) -> str | None:
    """Why no provider can be made of a profile; a class of one's own is left to its first job, as it may
    begin things when it is made.
    """
    if profile.kind not in KINDS:
        return None
    try:
        create(profile, HttpClient())  # which opens with its first request
    except ConfigurationError as error:
        return error.message
    return None
