"""Sealed profiles: a provider that a program names in code, encrypted with `PALAVER_SECRET` for the workers.

A job names a sealed profile as it names any other, by a name that only who has the secret can make; the
ledger keeps the profile itself, unreadable, for as long as a job may need it.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import orjson

from palaver.shared.error_tree import ConfigurationError
from palaver.shared.plain import refuse
from palaver.shared.profiles import SEALED, Profile
from palaver.shared.settings import Settings

KINDS: Final = ("openai", "anthropic", "ollama", "aiml", "scripted")
"""A class of somebody's own is configured at the workers: what is stored chooses no code."""

_NAME_HEX: Final = 32
_PURPOSE: Final = b"palaver sealed profile"


def is_sealed(model: str) -> bool:
    """Whether a job's model is of a sealed profile."""
    profile, _, name = model.partition("/")
    return profile.startswith(SEALED) and bool(name.strip())


def sealed_in(models: list[str]) -> list[str]:
    """The sealed profiles that these models of a job are of."""
    return list(dict.fromkeys(model.partition("/")[0] for model in models if is_sealed(model)))


@dataclass(frozen=True, slots=True)
class SealedProfile:
    """What the ledger keeps; equal profiles have the same name."""

    name: str
    content: bytes = field(repr=False)


class Seal:
    """Seals and opens, with the secret that producers and workers share."""

    def __init__(self, secret: str) -> None:
        try:
            from cryptography.fernet import Fernet
            from cryptography.hazmat.primitives.hashes import SHA256
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        except ModuleNotFoundError as missing:
            problem = f"PALAVER_SECRET needs the package {missing.name}: pip install 'palaver[sealed]'"
            raise ConfigurationError(problem, param="secret") from None
        derived = HKDF(SHA256(), length=64, salt=None, info=_PURPOSE).derive(secret.encode())
        self._naming = derived[:32]
        self._fernet = Fernet(urlsafe_b64encode(derived[32:]))

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """That of this system; None where it has no `PALAVER_SECRET`."""
        return None if settings.secret is None else cls(settings.secret.get_secret_value())

    def seal(self, table: Mapping[str, Any]) -> SealedProfile:
        """Seal what would stand under `[providers.NAME]`. Raises ValidationError."""
        profile = Profile.validated({"name": SEALED, **table}, at="provider")
        if profile.kind not in KINDS:
            refuse("provider.kind", f"must be one of {', '.join(KINDS)}, not {profile.kind[:64]!r}")
        for place in ("api_key_env", "api_key_file"):
            if getattr(profile, place) is not None:
                refuse(f"provider.{place}", "is a place at the workers; give the key as api_key")
        plain = orjson.dumps(dict(table), option=orjson.OPT_SORT_KEYS)
        return SealedProfile(self._name(plain), self._fernet.encrypt(plain))

    def open(self, sealed: SealedProfile) -> Profile:
        """The profile. Raises ConfigurationError for what was sealed with another secret, or as another."""
        from cryptography.fernet import InvalidToken

        try:
            plain = self._fernet.decrypt(sealed.content)
        except InvalidToken:
            plain = b""
        if not plain or not hmac.compare_digest(self._name(plain), sealed.name):
            raise ConfigurationError(
                f"the profile {sealed.name} was not sealed with this PALAVER_SECRET: "
                "producers and workers need the same one",
                provider=sealed.name,
            )
        return Profile.validated({"name": sealed.name, **orjson.loads(plain)}, at=sealed.name)

    def _name(self, plain: bytes) -> str:
        return SEALED + hmac.digest(self._naming, plain, "sha256").hex()[:_NAME_HEX]
