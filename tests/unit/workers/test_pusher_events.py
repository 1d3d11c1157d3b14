"""Events as Pusher takes them."""

import hashlib
import hmac
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.errors import ConfigurationError
from palaver.shared.events import AnyEvent, parse_event
from palaver.shared.settings import Settings
from palaver.workers.sinks.pusher_events import BATCH, batches, messages_of, signed_query
from palaver.workers.sinks.pusher_settings import load_pusher

KEYS = {"KEY": "k", "SECRET": "hush-hush", "APP_ID": 4711}


def event(seq: int, kind: str, data: dict[str, Any], job: str = "j1") -> AnyEvent:
    return parse_event(
        {"seq": seq, "type": kind, "session_id": "s:1", "job_id": job, "time": 0.5, "data": data}
    )


def test_the_four_kinds_have_the_names_and_keys_of_the_document() -> None:
    told = messages_of(
        "s:1",
        [
            event(1, "stream_start", {"metadata": {"agent": "a"}}),
            event(2, "text_chunk", {"delta": "one "}),
            event(3, "text_chunk", {"delta": "two"}),
            event(4, "widget", {"widget_type": "form", "data": {"x": 1}}),
            event(5, "stream_end", {"status": "completed"}),
        ],
        {},
    )
    assert {message["channel"] for message in told} == {"conversation-session-s;1"}
    common = {"job_id": "j1", "timestamp": "1970-01-01T00:00:00.500000+00:00"}
    assert [(message["name"], orjson.loads(message["data"])) for message in told] == [
        ("stream_start", {"metadata": {"agent": "a"}, "offset": 0, "id": "s:1-1", **common}),
        ("text_chunk", {"chunk": "one two", "id": "s:1-2", **common}),
        ("widget", {"widget_type": "form", "data": {"x": 1}, "id": "s:1-4", **common}),
        ("stream_end", {"status": "completed", "id": "s:1-5", **common}),
    ]


def test_every_stream_of_an_answer_has_its_start_and_its_end() -> None:
    streaming: dict[str, None] = {}
    pages = [
        [event(1, "stream_start", {"metadata": {"part": 1}}), event(2, "text_chunk", {"delta": "one"})],
        [
            event(3, "stream_start", {"metadata": {}}, "j2"),
            event(4, "stream_end", {"status": "failed"}, "j2"),
        ],
        [event(5, "stream_start", {"metadata": {"part": 2}, "offset": 3})],
        [event(6, "stream_end", {"status": "completed"})],
    ]
    told = [message for page in pages for message in messages_of("s1", page, streaming)]
    data = [(message["name"], orjson.loads(message["data"])) for message in told]
    assert [
        (name, one["metadata" if name == "stream_start" else "status"])
        for name, one in data
        if name != "text_chunk"
    ] == [
        ("stream_start", {"part": 1}),
        ("stream_start", {}),
        ("stream_end", "failed"),
        ("stream_end", "running"),
        ("stream_start", {"part": 2}),
        ("stream_end", "completed"),
    ]
    assert len({one["id"] for _, one in data}) == len(data)
    assert not streaming


def test_streams_that_end_elsewhere_are_forgotten_the_oldest_first() -> None:
    streaming: dict[str, None] = {}
    for number in range(20_000):
        messages_of("s1", [event(number + 1, "stream_start", {}, f"j{number}")], streaming)
    assert len(streaming) == 10_000
    messages_of("s1", [event(20_001, "stream_start", {}, "j10000")], streaming)
    (_,) = messages_of("s1", [event(20_002, "stream_start", {}, "j20000")], streaming)
    told = messages_of("s1", [event(20_003, "stream_start", {}, "j10000")], streaming)
    assert [message["name"] for message in told] == ["stream_end", "stream_start"]


def test_a_widget_that_is_told_again_is_the_same_one() -> None:
    widget = {"widget_type": "form", "data": {}, "id": "w1"}
    told = messages_of("s1", [event(1, "widget", widget), event(3, "widget", widget)], {})
    assert {orjson.loads(message["data"])["id"] for message in told} == {"w1"}


@given(
    st.lists(
        st.tuples(st.sampled_from(["j1", "j2"]), st.text(max_size=9000), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_no_word_is_lost_repeated_or_too_long(said: list[tuple[str, str, bool]]) -> None:
    events: list[AnyEvent] = []
    for job, text, between in said:
        events.append(event(len(events) + 1, "text_chunk", {"delta": text}, job))
        if between:
            events.append(event(len(events) + 1, "widget", {"widget_type": "w", "data": text}, job))
    told = messages_of("s:1", events, {})
    assert all(len(message["data"].encode()) <= 10_000 for message in told)
    assert all(len(batch) <= BATCH for batch in batches(told))
    assert [message for batch in batches(told) for message in batch] == told
    data = [(message["name"], orjson.loads(message["data"])) for message in told]
    for job in ("j1", "j2"):
        chunks = [one["chunk"] for name, one in data if name == "text_chunk" and one["job_id"] == job]
        assert "".join(chunks) == "".join(text for whose, text, _ in said if whose == job)
    widgets = [one for name, one in data if name == "widget"]
    assert len(widgets) == sum(between for _, _, between in said)
    assert len({one["id"] for _, one in data}) == len(data)


def test_what_is_too_long_to_be_told_says_so() -> None:
    (told,) = messages_of("s1", [event(1, "widget", {"widget_type": "w", "data": "x" * 20_000})], {})
    data = orjson.loads(told["data"])
    assert data["too_large"] is True
    assert data["widget_type"] == "w"
    assert "data" not in data


def test_a_request_is_signed_as_pusher_wants_it() -> None:
    query = signed_query("key", "secret", "/apps/1/events", b"{}", 1_353_088_179)
    signed, _, signature = query.rpartition("&auth_signature=")
    assert signed == (
        "auth_key=key&auth_timestamp=1353088179&auth_version=1.0&body_md5=99914b932bd37a50b983c5e7c90ae93b"
    )
    text = f"POST\n/apps/1/events\n{signed}".encode()
    assert signature == hmac.new(b"secret", text, hashlib.sha256).hexdigest()


def test_without_a_key_there_is_no_pusher() -> None:
    assert load_pusher(Settings()) is None
    assert load_pusher(Settings(pusher={"KEY": "", "SECRET": "s", "APP_ID": "1"})) is None


def test_its_names_may_be_those_of_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load_pusher(Settings(pusher=KEYS))
    assert found is not None
    assert found.address == "https://api-us2.pusher.com"
    assert "hush-hush" not in repr(found) + repr(Settings(pusher=KEYS)) + found.model_dump_json()
    monkeypatch.setenv("PUSHER_SECRET", "from-there")
    own = {"key": "k", "app_id": "1", "secret_env": "PUSHER_SECRET", "url": "http://here:6001/"}
    found = load_pusher(Settings(pusher=own))
    assert found is not None
    assert (found.address, found.secret.get_secret_value()) == ("http://here:6001", "from-there")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"key": "k", "app_id": "1"}, "pusher.secret: is required"),
        ({"key": "k", "app_id": "1", "secret_env": "NOT_SET"}, "NOT_SET is not set"),
        ({**KEYS, "cluster": "../x"}, "pusher.cluster"),
        ({**KEYS, "hosts": "x"}, "pusher.hosts: is not a known field"),
    ],
)
def test_wrong_settings_are_told_without_the_secret(table: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as error:
        load_pusher(Settings(pusher=table))
    assert "hush-hush" not in str(error.value)


def test_it_may_stand_in_the_file(tmp_path: Any) -> None:
    path = tmp_path / "palaver.toml"
    path.write_text('[pusher]\nkey = "k"\nsecret = "s"\napp_id = "1"\ncluster = "eu"\n')
    found = load_pusher(Settings(config=str(path)))
    assert found is not None
    assert found.address == "https://api-eu.pusher.com"
