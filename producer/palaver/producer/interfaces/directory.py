"""Which profiles and models there are, by one's own configuration and by what live workers serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

from palaver.producer.interfaces.clients import Clients
from palaver.producer.prepare import ALIAS
from palaver.shared.errors import ConfigurationError, ModelNotFoundError, ServiceUnavailableError
from palaver.shared.profiles import ModelRef

OLLAMA: Final = "ollama"


@dataclass(frozen=True, slots=True)
class Directory:
    """The kinds of profiles, and the models of aliases, by name."""

    kinds: Mapping[str, str]
    aliases: Mapping[str, Sequence[str]]

    @classmethod
    async def of(cls, clients: Clients) -> Self:
        """What there is now. One's own configuration comes first, in its order."""
        catalog = clients.catalog
        kinds = {} if catalog is None else {name: each.kind for name, each in catalog.profiles.items()}
        aliases = {} if catalog is None else dict(catalog.aliases)
        for name, item in (await clients.awaited.served()).items():
            if item["kind"] == ALIAS:
                aliases.setdefault(name, item["models"])
            else:
                kinds.setdefault(name, item["kind"])
        return cls(kinds, aliases)

    def profile_of(self, kind: str) -> str:
        """The first profile of this kind. Raises ConfigurationError."""
        for name, each in self.kinds.items():
            if each == kind:
                return name
        raise ConfigurationError(
            f'no profile has the kind {kind}: configure [providers.NAME] kind = "{kind}"'
        )

    def locate(self, name: str) -> list[ModelRef]:
        """What a name means: an alias, `profile/model`, or a model of the profile that is an Ollama server.

        Where nothing is known, a profile may be there. Raises ModelNotFoundError, ServiceUnavailableError.
        """
        if name in self.aliases:
            return [ref for each in self.aliases[name] for ref in self.locate(each)]
        profile, slash, model = name.partition("/")
        if slash and (profile in self.kinds or not self.kinds):
            return [ModelRef(profile, model)]
        if not self.kinds:
            raise ServiceUnavailableError("no worker runs, and no palaver.toml is here: no model is known")
        if OLLAMA not in self.kinds.values():
            told = f"there is no model {name[:64]!r}: it is neither provider/model nor an alias"
            raise ModelNotFoundError(f"{told}, and no profile has the kind {OLLAMA}")
        return [ModelRef(self.profile_of(OLLAMA), name)]
