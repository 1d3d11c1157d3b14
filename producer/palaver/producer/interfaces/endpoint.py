"""A provider's address in code, and the profile that it means: a configured one, or one that is sealed; pure.

A job names a profile and carries no key, so that there is none in any message or log, and none to be read in
Redis.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from palaver.shared.errors import ConfigurationError
from palaver.shared.plain import refuse, require, shape
from palaver.shared.profiles import Catalog, Profile
from palaver.shared.settings import redacted_url

_MINUTE: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What is given of a provider in code. `rate_limit` is (requests, seconds); None is not given."""

    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    rate_limit: tuple[float, float] | None = None
    kind: str | None = None  # says nothing of an address, but one of another kind is another

    def __post_init__(self) -> None:
        require("base_url", self.base_url, str | None, "text")
        require("api_key", self.api_key, str | None, "text")
        _check_texts("headers", self.headers)
        _check_texts("proxies", self.proxies)
        if self.rate_limit is not None:
            _check_rate(self.rate_limit)

    @property
    def given(self) -> bool:
        """Whether anything is."""
        own = (self.base_url, self.api_key, self.headers, self.proxies, self.rate_limit)
        return any(value is not None for value in own)

    def profile(self, catalog: Catalog | None, seal: Callable[[Mapping[str, Any]], str]) -> str | None:
        """The configured profile that has all that is given, else the one that `seal` makes of it.

        None if nothing is given. Raises ConfigurationError where neither can be had.
        """
        if not self.given:
            return None
        profiles = list(catalog.profiles.values()) if catalog is not None else []
        found = next((profile.name for profile in profiles if self._is(profile)), None)
        if found is not None:
            return found
        try:
            return seal(self._table())
        except ConfigurationError as error:
            at = f" {redacted_url(self.base_url)}" if self.base_url else ""
            problem = (
                f"no profile of palaver.toml has this address{at} with this key, these headers, proxies, "
                "limits and kind, and it cannot be sealed: "
                f"{error.message}. Set it, configure the profile under [providers.NAME], here and at the "
                'workers, or say nothing of it and name the model as "NAME/model"'
            )
        raise ConfigurationError(problem)

    def _table(self) -> dict[str, Any]:
        """As it would stand under `[providers.NAME]`."""
        if self.base_url is None and self.kind is None:
            raise ConfigurationError("base_url, the provider's address, is not given")
        table: dict[str, Any] = {"kind": self.kind or "openai"}
        if self.base_url is not None:
            table["base_url"] = self.base_url
        if self.api_key:
            table["api_key"] = self.api_key
        if self.headers:
            table["headers"] = dict(self.headers)
        if self.proxies is not None:
            table["proxies"] = dict(self.proxies)
        if self.rate_limit is not None:
            most, seconds = self.rate_limit
            table["limits"] = {"requests_per_minute": most * _MINUTE / seconds, "window": seconds}
        return table

    def _is(self, profile: Profile) -> bool:
        return (
            (self.base_url is None or self.base_url.rstrip("/") == profile.base_url)
            and (self.api_key is None or _same(self.api_key, profile))
            and _lower(self.headers or {}).items() <= _lower(profile.headers).items()
            and (self.proxies is None or dict(self.proxies) == profile.proxies)
            and (self.kind is None or self.kind == profile.kind)
            and self._slow_enough(profile)
        )

    def _slow_enough(self, profile: Profile) -> bool:
        if self.rate_limit is None:
            return True
        most, seconds = self.rate_limit
        limit, window = profile.limits.requests_per_minute, profile.limits.window
        return limit is not None and limit * window / _MINUTE * math.ceil(seconds / window) <= most


def named(profile: str | None, model: str | None) -> str | None:
    """A provider's own name of a model, as a job names it. Raises ValidationError for an address alone."""
    if profile is None:
        return model
    if model is None or not model.strip():
        refuse("model", "is required beside the address of a provider")
    return f"{profile}/{model}"


def _same(key: str, profile: Profile) -> bool:
    own = profile.api_key.get_secret_value() if profile.api_key is not None else ""
    return hmac.compare_digest(key.encode(), own.encode())


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _check_texts(name: str, given: object) -> None:
    require(name, given, Mapping | None, "an object")
    if isinstance(given, Mapping) and not all(
        isinstance(text, str) for item in given.items() for text in item
    ):
        refuse(name, "must have texts under texts")


def _check_rate(rate: object) -> None:
    pair = isinstance(rate, tuple | list) and len(rate) == 2
    if not pair or any(isinstance(n, bool) or not isinstance(n, int | float) or n <= 0 for n in rate):  # type: ignore[attr-defined]
        refuse("rate_limit", f"must be (requests, seconds), both above 0, not {shape(rate)}")
