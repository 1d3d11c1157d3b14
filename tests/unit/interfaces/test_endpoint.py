"""Which configured profile an address in code means."""

from collections.abc import Mapping
from typing import Any

import pytest

from palaver.producer.interfaces.endpoint import Endpoint, named
from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.profiles import Catalog


def unsealed(_table: Mapping[str, Any]) -> str:
    raise ConfigurationError("PALAVER_SECRET is not set")


CATALOG = Catalog.of(
    {
        "other": {"kind": "openai", "base_url": "https://b.example/v1", "api_key": "k2"},
        "team": {
            "kind": "openai",
            "base_url": "https://a.example/v1",
            "api_key": "k1",
            "headers": {"X-Team": "a"},
            "proxies": {"https": "http://proxy:1"},
            "limits": {"requests_per_minute": 60},
        },
        "bare": {"kind": "openai", "base_url": "https://c.example/v1"},
    }
)


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "https://a.example/v1/"},
        {"api_key": "k1"},
        {"headers": {"x-team": "a"}},
        {"proxies": {"https": "http://proxy:1"}, "base_url": "https://a.example/v1"},
        {"rate_limit": (60, 30)},
        {"rate_limit": (120, 60), "kind": "openai"},
    ],
)
def test_the_one_that_has_all_of_it(given: dict[str, Any]) -> None:
    assert Endpoint(**given).profile(CATALOG, unsealed) == "team"


@pytest.mark.parametrize(
    "given",
    [
        {"base_url": "https://a.example"},
        {"base_url": "https://a.example/v1", "api_key": "k2"},
        {"base_url": "https://c.example/v1", "api_key": "k1"},
        {"base_url": "https://a.example/v1", "headers": {"X-Team": "b"}},
        {"base_url": "https://a.example/v1", "proxies": {}},
        {"rate_limit": (30, 60)},
        {"rate_limit": (1, 1)},
        {"base_url": "https://a.example/v1", "kind": "ollama"},
    ],
)
def test_none_that_has_only_some(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Endpoint(**given).profile(CATALOG, unsealed)
    with pytest.raises(ConfigurationError):
        Endpoint(**given).profile(None, unsealed)


def test_what_no_profile_has_is_sealed() -> None:
    sealed: list[Mapping[str, Any]] = []

    def seal(table: Mapping[str, Any]) -> str:
        sealed.append(table)
        return "sealed-1"

    given = {"base_url": "https://d.example", "api_key": "k", "headers": {"A": "b"}, "proxies": {}}
    assert Endpoint(**given, rate_limit=(2, 1)).profile(CATALOG, seal) == "sealed-1"  # type: ignore[arg-type]
    assert Endpoint(kind="anthropic", api_key="k").profile(None, seal) == "sealed-1"
    assert sealed == [
        {"kind": "openai", **given, "limits": {"requests_per_minute": 120, "window": 1}},
        {"kind": "anthropic", "api_key": "k"},
    ]
    with pytest.raises(ConfigurationError, match="base_url"):
        Endpoint(api_key="of nobody").profile(CATALOG, seal)


def test_an_empty_key_is_none() -> None:
    assert Endpoint(base_url="https://c.example/v1", api_key="").profile(CATALOG, unsealed) == "bare"


def test_nothing_given_means_no_profile() -> None:
    assert Endpoint(kind="openai").profile(CATALOG, unsealed) is None
    assert named(None, "team/m") == "team/m"
    assert named("team", "maker/m") == "team/maker/m"
    for blank in (None, " "):
        with pytest.raises(ValidationError):
            named("team", blank)


@pytest.mark.parametrize("rate", [(1,), (0, 1), (1, -1), ("1", 1), (True, 1), 5])
def test_what_is_no_rate(rate: Any) -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        Endpoint(rate_limit=rate)


def test_a_key_is_in_no_repr() -> None:
    assert "hunter2" not in repr(Endpoint(api_key="hunter2", headers={"a": "hunter2"}))
