"""API keys and reader tokens: pure."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from palaver.shared.api_keys import ApiKey, parse_api_key
from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.reader_tokens import make_reader_token, read_reader_token
from palaver.shared.settings import Settings

SETTINGS = Settings(secret="a" * 32)


def test_a_key_opens_itself_alone() -> None:
    text, key = ApiKey.make(name="web")
    other, _ = ApiKey.make()
    parsed = parse_api_key(text)
    assert parsed is not None
    assert parsed[0] == key.id
    assert key.is_opened_by(parsed[1])
    assert not key.is_opened_by(other[-43:])
    assert parsed[1] not in repr(key)
    assert parsed[1].encode() not in key.to_json()


@given(st.text(max_size=80))
def test_nothing_else_is_a_key(text: str) -> None:
    parsed = parse_api_key(text)
    assert parsed is None or text == f"plv_{parsed[0]}_{parsed[1]}"


@pytest.mark.parametrize(
    ("models", "asked", "allowed"),
    [
        (None, ["anything/x"], True),
        (["a/x"], ["a/x"], True),
        (["a/x"], ["a/y"], False),
        (["a/*"], ["a/y"], True),
        (["a/*"], ["a/y", "b/y"], False),
        (["a/*"], [], False),
        (["default"], [], True),
        (["a/*"], ["a"], False),
    ],
)
def test_a_key_allows_its_models(models: list[str] | None, asked: list[str], allowed: bool) -> None:
    _, key = ApiKey.make(models=models)
    assert key.allows(asked) is allowed


@pytest.mark.parametrize(
    ("tools", "name", "allowed"),
    [
        (None, "look", True),
        ([], "look", False),
        (["look"], "look", True),
        (["look"], "looks", False),
        (["shop__*"], "shop__price", True),
        (["shop__*"], "look", False),
    ],
)
def test_a_key_allows_its_tools(tools: list[str] | None, name: str, allowed: bool) -> None:
    _, key = ApiKey.make(tools=tools)
    assert key.allows_tool(name) is allowed


def test_a_key_ends() -> None:
    _, key = ApiKey.make(expires=100.0)
    assert not key.has_expired(99.9)
    assert key.has_expired(100.0)


@pytest.mark.parametrize(
    "fields", [{"models": []}, {"requests_per_minute": 0}, {"tenant": ""}, {"tools": [""]}, {"x": 1}]
)
def test_a_wrong_key_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ApiKey.make(**fields)


def test_a_token_is_for_one_session_and_ends() -> None:
    token = make_reader_token(SETTINGS, "s1", seconds=60, now=1000.0)
    read = read_reader_token(SETTINGS, token, now=1059.0)
    assert read is not None
    assert (read.session_id, read.expires, read.tenant) == ("s1", 1060.0, None)
    assert read_reader_token(SETTINGS, token, now=1060.0) is None
    assert read_reader_token(Settings(secret="b" * 32), token, now=1001.0) is None
    assert read_reader_token(Settings(), token, now=1001.0) is None


@given(st.integers(0, 200), st.integers(0, 127))
def test_a_changed_token_is_none(place: int, letter: int) -> None:
    token = make_reader_token(SETTINGS, "s1", seconds=60, now=1000.0)
    place %= len(token)
    changed = token[:place] + chr(letter) + token[place + 1 :]
    read = read_reader_token(SETTINGS, changed, now=1001.0)
    assert read is None or changed == token, "a token has one spelling"


@given(st.text(min_size=1, max_size=8), st.booleans())
@example("!!!!", False)
@example("=", True)
def test_a_token_with_more_in_it_is_none(more: str, in_payload: bool) -> None:
    token = make_reader_token(SETTINGS, "s1", tenant="acme", key_id="k1", seconds=60, now=1000.0)
    payload, _, mac = token.partition(".")
    longer = f"{payload}{more}.{mac}" if in_payload else f"{token}{more}"
    assert read_reader_token(SETTINGS, longer, now=1001.0) is None


@given(st.text(max_size=60))
def test_noise_is_no_token(text: str) -> None:
    assert read_reader_token(SETTINGS, "plr_" + text, now=0.0) is None


def test_a_token_needs_the_secret_and_a_time() -> None:
    with pytest.raises(ConfigurationError, match="PALAVER_SECRET"):
        make_reader_token(Settings(), "s1", seconds=60, now=0.0)
    for seconds in (0, -1, 8 * 24 * 3600, True):
        with pytest.raises(ValidationError):
            make_reader_token(SETTINGS, "s1", seconds=seconds, now=0.0)
    with pytest.raises(ValidationError):
        make_reader_token(SETTINGS, "s 1", seconds=60, now=0.0)
    with pytest.raises(ValidationError):
        make_reader_token(SETTINGS, "s1", tenant="", seconds=60, now=0.0)


@pytest.mark.parametrize(
    ("agents", "path", "allowed"),
    [
        (None, "docs/1", True),
        ([], "docs/1", False),
        (["docs/1"], "/docs/1/", True),
        (["/docs/1/"], "docs/1", True),
        (["docs/1"], "docs/12", False),
        (["docs/*"], "docs/12", True),
        (["/docs/*"], "/docs/1/2/", True),
        (["docs/*"], "docs2/1", False),
        (["docs/*"], "docs", False),
    ],
)
def test_a_key_allows_its_agents(agents: list[str] | None, path: str, allowed: bool) -> None:
    _, key = ApiKey.make(agents=agents)
    assert key.allows_agent(path) is allowed
