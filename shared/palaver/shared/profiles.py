"""Provider profiles and model aliases: which providers there are, and what a job's `model` means."""

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from palaver.shared.config_file import read_config, table_of
from palaver.shared.document import Document
from palaver.shared.error_tree import ConfigurationError, ValidationError
from palaver.shared.jobs import Timeouts
from palaver.shared.plain import Integer, JsonObject, Real, Text, refuse, shape
from palaver.shared.settings import Settings, redacted_url

SCRIPTED: Final = "scripted"
DEFAULT_MODEL: Final = "scripted/echo"
"""What answers when nothing at all is configured: no key and no network needed."""

SEALED: Final = "sealed-"
"""The names of sealed profiles begin with this, and no others."""

KEY_HEADERS: Final = frozenset(("authorization", "api-key", "x-api-key"))
"""Where providers look for a key."""


class Resume(StrEnum):
    """How an answer goes on after a crash or a cut stream."""

    AUTO = "auto"
    PREFIX = "prefix"
    PROMPT = "prompt"
    RESTART = "restart"


class ModelRef(NamedTuple):
    """One model of one profile."""

    profile: str
    model: str

    def __str__(self) -> str:
        return f"{self.profile}/{self.model}"


class Limits(Document):
    """A profile's limits over all workers; None is no limit.

    No `window` of so many seconds has more requests and tokens than its part of a minute's; one in which not
    one request has room is as long as that one needs.
    """

    requests_per_minute: Annotated[Real, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[Real, Field(gt=0)] | None = None
    concurrent: Annotated[Integer, Field(ge=1)] | None = None
    window: Annotated[Real, Field(gt=0, le=86_400)] = 60.0

    @property
    def none(self) -> bool:
        """Whether nothing is limited."""
        return self.requests_per_minute is None and self.tokens_per_minute is None and self.concurrent is None


ANY_MODEL: Final = "*"
"""The name under which a profile has a price for all models that it names no other for."""


class ModelPrice(Document):
    """US dollars for a million tokens; `cached_input` for those of the prompt that the provider had cached
    (None: as any).
    """

    input: Annotated[Real, Field(ge=0)]
    output: Annotated[Real, Field(ge=0)]
    cached_input: Annotated[Real, Field(ge=0)] | None = None


class Breaker(Document):
    """When a worker stops asking a provider that fails, and for how long. Times are in seconds."""

    failures: Annotated[Integer, Field(ge=1)] = 10  # in succession, or …
    rate: Annotated[Real, Field(gt=0, le=1)] = 0.5  # … this part of the requests of a window, …
    requests: Annotated[Integer, Field(ge=1)] = 20  # … if there were so many
    window: Annotated[Real, Field(gt=0)] = 30.0
    pause: Annotated[Real, Field(gt=0)] = 5.0  # until one request tries again; doubled by each that fails


def _breaker(value: Any) -> Any:
    if value is True:
        return Breaker()
    return None if value is False else value


def _base_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if not value.isprintable() or " " in value:
        raise ValueError("must have no spaces or line ends")
    try:
        parts = urlsplit(value)
        known = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ValueError("must name a host, and a port up to 65535 if any: http://HOST:PORT/PATH")
    if parts.query or parts.fragment:
        # Paths are put behind it; and a key in it would be seen.
        raise ValueError(
            "must end with its path; a key belongs into api_key_env or headers, not behind a `?`"
        )
    return value.rstrip("/?#")


_PROXIED: Final = ("http", "https", "all")


def _proxies(value: dict[str, str]) -> dict[str, str]:
    """A scheme that is not understood must not let requests pass the proxy by."""
    for name, proxy in value.items():
        scheme = name.lower().rstrip(":/")
        if scheme not in _PROXIED:
            raise ValueError(f"are by scheme, {', '.join(_PROXIED)}; {_told(name)} is none")
        if "://" in proxy and not proxy.lower().startswith(("http://", "https://")):
            raise ValueError(f"must be http:// or https:// addresses; the one for {scheme} is not")
    return value


def _profile_name(value: str) -> str:
    if not value or not value.isprintable() or any(c in "/{}" for c in value) or value != value.strip():
        raise ValueError("must be a name without slashes and braces")
    return value


def _secret(value: Any) -> Any:
    if value is None or isinstance(value, SecretStr) or (isinstance(value, str) and value):
        return value
    raise ValueError(f"must be a key, not {shape(value)}")


Context = Annotated[Integer, Field(ge=1)]


class Profile(Document):
    """A configured provider. Keys and headers are secrets: they are in no repr and in no dump.

    `kind` is a built-in dialect or `package.module:Class`. `models` None: any model is taken. `timeouts`
    are the defaults of jobs; `options` belong to the kind. `breaker = false` (None) always asks. The key is
    in a variable of the environment (`api_key_env`) or in a file (`api_key_file`), which may change. `prices`
    are by model, and of `*` for all others. `context` is how many tokens its models take, or some of them, by
    name.
    """

    name: Annotated[Text, AfterValidator(_profile_name)]
    kind: Annotated[Text, Field(min_length=1)]
    base_url: Annotated[Text, AfterValidator(_base_url)] | None = None
    api_key_env: Text | None = None
    api_key_file: Text | None = None
    api_key: Annotated[SecretStr | None, BeforeValidator(_secret)] = Field(default=None, exclude=True)
    headers: dict[Text, Text] = Field(default_factory=dict, exclude=True)
    limits: Limits = Field(default_factory=Limits)
    breaker: Annotated[Breaker | None, BeforeValidator(_breaker)] = Field(default_factory=Breaker)
    resume: Resume = Resume.AUTO
    models: list[Text] | None = None
    prices: dict[Text, ModelPrice] = Field(default_factory=dict)
    context: Context | dict[Text, Context] | None = None
    timeouts: Timeouts = Field(default_factory=Timeouts)
    proxies: Annotated[dict[Text, Text], AfterValidator(_proxies)] | None = Field(default=None, exclude=True)
    options: JsonObject = Field(default_factory=dict, exclude=True)

    @field_validator("models", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def context_of(self, model: str) -> int | None:
        """How many tokens this model takes, question and answer together; None: it is not known."""
        return self.context.get(model) if isinstance(self.context, dict) else self.context

    def key(self) -> str | None:
        """The key in clear, or None for a provider without one.

        Raises ConfigurationError when the profile names a place for it, and there is none.
        """
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        if missing := self._no_key():
            raise ConfigurationError(missing, provider=self.name)
        return None

    def missing_key(self) -> str | None:
        """What is missing, where the profile names a key that is not there; headers may have one instead."""
        if self.api_key is not None or KEY_HEADERS & {name.lower() for name in self.headers}:
            return None
        return self._no_key()

    def _no_key(self) -> str | None:
        if self.api_key_env is not None:
            return f"provider {self.name}: the environment variable {self.api_key_env} is not set"
        if self.api_key_file is not None:
            return f"provider {self.name}: there is no key in {self.api_key_file}"
        return None

    def secrets(self) -> list[str]:
        """What must be repeated to nobody: the key, and the values of the headers."""
        key = [] if self.api_key is None else [self.api_key.get_secret_value()]
        return [*key, *self.headers.values()]

    def announcement(self) -> dict[str, Any]:
        """What a worker tells everybody about the profile: kind and models."""
        return {"kind": self.kind, "models": self.models}

    def __str__(self) -> str:
        address = f" at {redacted_url(self.base_url)}" if self.base_url else ""
        return f"{self.name} ({self.kind}{address})"


class Catalog(Document):
    """All profiles, and the aliases: names for a list of models in the order of fallback."""

    profiles: dict[str, Profile]
    aliases: dict[str, list[str]] = Field(default_factory=dict)

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """The catalog of `palaver.toml` and the environment (which wins).

        A file of the default name may be absent. Raises ConfigurationError naming the file and the key.
        """
        document = read_config(settings.config)
        providers = {**table_of(document, "providers", settings.config), **settings.providers}
        models = {**table_of(document, "models", settings.config), **settings.models}
        try:
            return cls.of(providers, models)
        except ValidationError as error:
            problem = f"{settings.config}: {error.message}"
        raise ConfigurationError(problem)

    @classmethod
    def of(cls, providers: Mapping[str, Any] | None = None, models: Mapping[str, Any] | None = None) -> Self:
        """A catalog from the tables `[providers.NAME]` and `[models]`; without any provider it has
        `scripted`.

        Keys named by `api_key_env` are read here. Raises ValidationError.
        """
        profiles = {name: _profile(name, table) for name, table in (providers or {}).items()}
        if not profiles:
            profiles = {SCRIPTED: Profile(name=SCRIPTED, kind=SCRIPTED)}
        catalog = cls(
            profiles=profiles, aliases={name: _alias(name, value) for name, value in (models or {}).items()}
        )
        for name in catalog.aliases:
            catalog._resolve_one(name, f"models.{name}", ())
        return catalog

    def profile(self, name: str) -> Profile:
        """The profile of this name. Raises ValidationError (param `model`) for an unknown one."""
        found = self.profiles.get(name)
        if found is None:
            refuse(
                "model", f"there is no provider {_told(name)}; configured: {', '.join(sorted(self.profiles))}"
            )
        return found

    def resolve(self, model: str | Sequence[str] | None = None) -> list[ModelRef]:
        """The models that a job's `model` names, in the order of fallback, without repetitions.

        None means the alias `default`, or the scripted echo when nothing is configured. Raises
        ValidationError (param `model`) for an unknown profile or alias, and for a model that its profile
        does not list.
        """
        if model is None:
            model = self._default()
        names = [model] if isinstance(model, str) else list(model)
        if not names:
            refuse("model", "must not be empty")
        found = [ref for name in names for ref in self._resolve_one(name, "model", ())]
        return list(dict.fromkeys(found))

    def _default(self) -> str:
        if "default" in self.aliases:
            return "default"
        if list(self.profiles) != [SCRIPTED]:
            refuse("model", "is required: palaver.toml has no [models] default")
        return DEFAULT_MODEL

    def _resolve_one(self, name: str, param: str, seen: tuple[str, ...]) -> list[ModelRef]:
        if name in seen:
            refuse(param, f"the alias {_told(name)} leads back to itself")
        if name in self.aliases:
            return [
                ref for each in self.aliases[name] for ref in self._resolve_one(each, param, (*seen, name))
            ]
        profile_name, slash, model = name.partition("/")
        if not slash or not model.strip():
            known = ", ".join(sorted(self.aliases)) or "none"
            refuse(param, f"{_told(name)} is neither provider/model nor a known alias (aliases: {known})")
        profile = self.profiles.get(profile_name)
        if profile is None:
            known = ", ".join(sorted(self.profiles))
            refuse(param, f"there is no provider {_told(profile_name)}; configured: {known}")
        if profile.models is not None and model not in profile.models:
            refuse(param, f"{profile_name} has no model {_told(model)}; it has: {', '.join(profile.models)}")
        return [ModelRef(profile_name, model)]


def _told(name: str) -> str:
    return repr(name if len(name) <= 64 else name[:63] + "…")


def _profile(name: str, table: Any) -> Profile:
    if name.startswith(SEALED):
        refuse(f"providers.{name}", f"must have another name: {SEALED}… are those of sealed profiles")
    if isinstance(table, Profile):
        return table
    if not isinstance(table, Mapping):
        refuse(f"providers.{name}", f"must be a table, not {shape(table)}")
    fields = {"name": name, **table}
    variable, file = fields.get("api_key_env"), fields.get("api_key_file")
    if variable is not None and file is not None:
        refuse(f"providers.{name}.api_key_file", "cannot be given beside api_key_env")
    if fields.get("api_key") is None and isinstance(variable, str):
        fields["api_key"] = os.environ.get(variable) or None
    if fields.get("api_key") is None and isinstance(file, str):
        fields["api_key"] = _key_in(file, f"providers.{name}.api_key_file")
    return Profile.validated(fields, at=f"providers.{name}")


def _key_in(file: str, param: str) -> str | None:
    """The file's only line; None for an empty one, and for one that is not there, or not yet."""
    try:
        return Path(file).read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None
    except OSError as error:
        refuse(param, f"{file} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        refuse(param, f"{file} is not UTF-8")


def _alias(name: str, value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if (
        not isinstance(names, list | tuple)
        or not names
        or any(not isinstance(item, str) or not item for item in names)
    ):
        refuse(f"models.{name}", "must be a model or a non-empty list of models")
    return list(names)
