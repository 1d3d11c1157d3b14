"""API keys of the gateway: `plv_ID_SECRET`. The ledger keeps a hash of the secret and what the key may do."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Annotated, Final, Self

from pydantic import Field

from palaver.shared.agent_paths import trimmed
from palaver.shared.document import Document
from palaver.shared.names import NORMAL_MOST
from palaver.shared.plain import Integer, Key, Name, Real, Text, optional
from palaver.shared.tools import ToolName, is_named

_FORM: Final = re.compile(r"plv_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_SECRET_BYTES: Final = 32
"""So long that a fast hash is enough: nobody guesses 256 bits."""


class ApiKey(Document):
    """What a key may do. Times are Unix seconds.

    All that is done with it is its `tenant`'s, and its `user`'s if it names one. `models`: only these
    (`profile/model`, `profile/*`, an alias); None: all. `tools`: of the workers' tools only these
    (`shop__*`: all of a server's), none where it is empty; None: all. `agents`: only these paths (`docs/*`:
    all below), none where it is empty; None: all. What an agent asks is its own: a key for it is for its
    models and tools. `extra`: fields of providers that its jobs may have beside those which all jobs of such
    a key may have. `priority_most`: the highest priority that it may ask for; from 7 on jobs pass those of
    all others.
    """

    id: Annotated[Text, Field(pattern=r"^[0-9a-f]{12}$")]
    digest: Annotated[Text, Field(pattern=r"^[0-9a-f]{64}$")] = Field(repr=False)
    name: Name | None = optional()
    tenant: Key | None = optional()
    user: Name | None = optional()
    models: Annotated[list[Name], Field(min_length=1)] | None = optional()
    tools: list[ToolName] | None = optional()
    agents: list[Name] | None = optional()
    extra: list[Name] | None = optional()
    priority_most: Annotated[Integer, Field(ge=0, le=9)] = NORMAL_MOST
    requests_per_minute: Annotated[Integer, Field(ge=1, le=1_000_000)] | None = optional()
    created: Real = 0.0
    expires: Real | None = optional()

    @classmethod
    def make(cls, **fields: object) -> tuple[str, Self]:
        """A new key, which is shown once, and what is kept of it. Raises ValidationError."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        key = cls.validated({**fields, "id": secrets.token_hex(6), "digest": _digest(secret)})
        return f"plv_{key.id}_{secret}", key

    def is_opened_by(self, secret: str) -> bool:
        """Whether this is the key's secret."""
        return hmac.compare_digest(self.digest, _digest(secret))

    def has_expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now

    @property
    def is_restricted(self) -> bool:
        """Whether it is for some models, tools or agents alone."""
        return not (self.models is None and self.tools is None and self.agents is None)

    def allows(self, models: Sequence[str]) -> bool:
        """Whether a job may name these models; none at all means the alias `default`."""
        return self.models is None or all(self._allows(model) for model in models or ("default",))

    def allows_tool(self, name: str) -> bool:
        """Whether a job may name this tool of the workers."""
        return self.tools is None or any(is_named(pattern, name) for pattern in self.tools)

    def allows_agent(self, path: str) -> bool:
        """Whether a session or a job may have this agent answer."""
        return self.agents is None or any(_is_below(pattern, path) for pattern in self.agents)

    def _allows(self, model: str) -> bool:
        profile, slash, _ = model.partition("/")
        models = self.models or ()
        return model in models or (bool(slash) and f"{profile}/*" in models)


def parse_api_key(text: str) -> tuple[str, str] | None:
    """(id, secret) of what looks like a key; None for anything else."""
    found = _FORM.fullmatch(text)
    return (found[1], found[2]) if found else None


def _is_below(pattern: str, path: str) -> bool:
    if pattern.endswith("/*"):
        return trimmed(path).startswith(pattern.lstrip("/")[:-1])
    return trimmed(path) == trimmed(pattern)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
