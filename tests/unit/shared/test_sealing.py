"""Sealed profiles: nothing can be read in them, they open with the same secret only, and choose no code."""

from dataclasses import replace
from typing import Any

import pytest

from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.profiles import Catalog
from palaver.shared.sealing import Seal, is_sealed, sealed_in
from palaver.shared.settings import Settings

TABLE = {
    "kind": "openai",
    "base_url": "https://a.example/v1",
    "api_key": "sk-hunter2",
    "headers": {"X-Team": "blue"},
    "proxies": {},
    "limits": {"requests_per_minute": 60.0},
}
SEAL = Seal("s" * 32)


def test_it_opens_as_what_it_was() -> None:
    sealed = SEAL.seal(TABLE)
    profile = Seal("s" * 32).open(sealed)

    assert (profile.name, profile.kind, profile.base_url) == (sealed.name, "openai", "https://a.example/v1")
    assert (profile.key(), profile.headers, profile.proxies) == ("sk-hunter2", {"X-Team": "blue"}, {})
    assert profile.limits.requests_per_minute == 60


def test_nothing_can_be_read_in_it() -> None:
    sealed = SEAL.seal(TABLE)
    for word in ("hunter2", "a.example", "blue"):
        assert word not in sealed.name + repr(sealed) + sealed.content.decode()


def test_the_same_profile_has_one_name_and_others_have_others() -> None:
    assert SEAL.seal(TABLE).name == SEAL.seal(dict(reversed(TABLE.items()))).name
    names = {
        SEAL.seal(TABLE).name,
        SEAL.seal(TABLE | {"api_key": "k2"}).name,
        Seal("t" * 32).seal(TABLE).name,
    }
    assert len(names) == 3


@pytest.mark.parametrize("wrong", ["secret", "name", "content"])
def test_what_was_not_sealed_so_does_not_open(wrong: str) -> None:
    sealed = SEAL.seal(TABLE)
    other = SEAL.seal(TABLE | {"api_key": "k2"})
    changed = {"name": replace(sealed, name=other.name), "content": replace(sealed, content=b"x")}
    with pytest.raises(ConfigurationError, match="PALAVER_SECRET") as caught:
        (Seal("t" * 32) if wrong == "secret" else SEAL).open(changed.get(wrong, sealed))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "param"),
    [
        ({"kind": "os:system"}, "provider.kind"),
        ({"kind": "openai", "api_key_env": "HOME"}, "provider.api_key_env"),
        ({"kind": "openai", "api_key_file": "/etc/passwd"}, "provider.api_key_file"),
        ({"kind": "openai", "base_url": "ftp://x"}, "provider.base_url"),
        ({"kind": "openai", "colour": "blue"}, "provider.colour"),
    ],
)
def test_what_is_not_sealed(table: dict[str, Any], param: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SEAL.seal(table)
    assert caught.value.param == param


def test_the_names_are_nobody_elses() -> None:
    name = SEAL.seal(TABLE).name
    assert is_sealed(f"{name}/gpt")
    assert not any(is_sealed(model) for model in (name, f"{name}/ ", "openai/sealed-x", "default"))
    assert sealed_in([f"{name}/a", "openai/b", f"{name}/c"]) == [name]
    with pytest.raises(ValidationError, match="another name"):
        Catalog.of({name: {"kind": "openai"}})


def test_a_system_without_a_secret_has_no_seal() -> None:
    assert Seal.of(Settings()) is None


def test_a_short_secret_is_refused_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALAVER_SECRET", "hunter2")
    with pytest.raises(ConfigurationError, match="PALAVER_SECRET: must have at least 32") as caught:
        Settings()
    assert "hunter2" not in str(caught.value)
