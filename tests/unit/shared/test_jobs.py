"""The job document: strict, bounded before anything walks into it, and the same after the ledger."""

import datetime
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared import ChatJob, Message, OnBusy, Status, fingerprint
from palaver.shared.errors import ValidationError
from palaver.shared.ids import is_key_session, session_for
from palaver.shared.jobs import MAX_DOCUMENT_BYTES, Completion, PromptName

from .strategies import json_objects, messages

SECRET = "the secret prompt"
FULL = {
    "messages": [{"role": "user", "content": "hi"}],
    "history": [{"role": "assistant", "content": "before"}],
    "system": "be kind",
    "model": ["a/m", "b/m"],
    "params": {"temperature": 0.2, "stop": "x", "extra": {"k": [1, None]}},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": "low",
    "session_id": "s:1",
    "user": "u",
    "tenant": "t",
    "priority": 9,
    "deadline": 60,
    "run_at": 1_800_000_000.5,
    "timeouts": {"connect": 1, "read": 2, "total": 3},
    "max_retries": 0,
    "idempotency_key": "k/1 ü",
    "on_busy": "interrupt",
    "history_limit": {"tokens": 1000, "messages": 10},
    "chain": {"steps": ["First", "Second"]},
    "mode": "creative",
    "response_schema": {"json_schema": {"type": "object"}, "name": "total", "strict": True, "repairs": 2},
    "complete": {"continue_delay": [0.5, 1]},
    "cache": True,
    "agent": "support/",
    "archive": True,
    "files": ["f1"],
    "webhook": "https://example.org/hook",
    "metadata": {"a": None, "b": [1.5]},
    "retry_of": "j0",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}


def test_a_full_job_survives_the_ledger() -> None:
    job = ChatJob(**FULL)
    assert set(ChatJob.model_fields) == set(FULL) | {"job_id", "version"}
    assert ChatJob.parse(job.to_json()) == job
    assert ChatJob.parse(orjson.loads(job.to_json())) == job
    assert ChatJob.parse(job.to_json().decode()) == job


@given(st.lists(messages, max_size=3), json_objects)
def test_any_job_survives_the_ledger(history: Any, metadata: Any) -> None:
    job = ChatJob(messages="x", history=history, metadata=metadata)
    assert ChatJob.parse(job.to_json()) == job
    assert fingerprint(ChatJob.parse(job.to_json())) == fingerprint(job)


def test_defaults() -> None:
    job = ChatJob(messages="hi")
    assert (job.priority, job.deadline, job.max_retries, job.on_busy) == (5, 3600, 2, OnBusy.ENQUEUE)
    assert job.history is None
    assert job.models == []
    assert ChatJob(messages="hi", model="a/b").models == ["a/b"]
    assert len({ChatJob(messages="hi").job_id for _ in range(100)}) == 100


WRONG: dict[str, list[Any]] = {
    "messages": ["", [], None, 5],
    "session_id": ["", "a b", "a\n", "a\x00", "ä", "{x}", "x" * 129, 5],
    "job_id": ["", "a:b", "a b", None, 5],
    "model": ["", "  ", [], ["a/b", ""], 5, {"a": 1}, "a/b\n", ["a/b", "a/\x00c"], "a/" + "b" * 511],
    "priority": [-1, 10, True, "5", 5.0],
    "deadline": [-1, 0, 0.5, 7 * 86400 + 1, "60", True, float("nan"), None],
    "run_at": [-1, "tomorrow", True, 1.8e12, datetime.datetime(2026, 1, 1)],
    "max_retries": [-1, 101, 1.5, True],
    "metadata": [
        [1],
        "x",
        {"a": {1}},
        {"a": float("nan")},
        {1: 2},
        {"a": 2**64},
        {"a": datetime.datetime.now()},
    ],
    "history": ["all", 5, {"role": "user"}],
    "idempotency_key": ["", "x" * 257, "a\nb", 5],
    "on_busy": ["wait", 5],
    "complete": [5, {"max_continues": -1}, {"on_error": "ignore"}, {"continue_delay": [2, 1]}],
    "chain": [{"steps": []}, {"steps": [""]}, {"steps": ["one", " \n"]}, {"steps": "one"}],
    "timeouts": [5, {"read": 0}, {"connect": "1"}, {"read": float("inf")}],
    "tools": ["f", [5], [{"name": "a b"}], [{"name": "f"}, {"name": "g"}, {"name": "f"}]],
    "tool_choice": ["required", "f", {"type": "function", "function": {"name": "f"}}, 5],
    "files": ["f", [""], [5]],
    "webhook": ["ftp://x", "javascript:x", "https://a b", 5],
    "user": ["", 5],
    "unknown": [1],
}


@pytest.mark.parametrize(("name", "value"), [(name, bad) for name, values in WRONG.items() for bad in values])
def test_what_is_refused_names_its_field(name: Any, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ChatJob(**{"messages": "hi", name: value})
    assert (caught.value.param or "").replace("[", ".").partition(".")[0] == name
    assert caught.value.__context__ is None


def test_nested_places_are_named() -> None:
    with pytest.raises(ValidationError) as caught:
        ChatJob(messages=["a", {"role": "user", "content": [{"type": "text"}]}])
    assert caught.value.param == "messages[1].content[0].text"
    with pytest.raises(ValidationError) as caught:
        ChatJob(messages="a", params={"temperature": 5})
    assert str(caught.value) == "params.temperature: must be at most 2, not 5"
    with pytest.raises(ValidationError) as caught:
        ChatJob(messages="a", history=[{"role": "user", "content": 5}])
    assert caught.value.param == "history[0].content"


def test_session_history_needs_a_session() -> None:
    with pytest.raises(ValidationError) as caught:
        ChatJob(messages="hi", history="session")
    assert caught.value.param == "history"
    assert ChatJob(messages="hi", history="session", session_id="s").history == "session"


def test_an_aware_datetime_is_unix_time() -> None:
    at = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
    assert ChatJob(messages="hi", run_at=at).run_at == at.timestamp()


class TestSize:
    def test_a_large_message_is_refused_and_named(self) -> None:
        with pytest.raises(ValidationError) as caught:
            ChatJob(messages="x" * 10_000_000)
        assert caught.value.param == "messages"
        assert len(str(caught.value)) < 200

    def test_bytes_count_not_characters(self) -> None:
        with pytest.raises(ValidationError):
            ChatJob(messages="👩" * (MAX_DOCUMENT_BYTES // 4 + 1))
        assert ChatJob(messages="x" * (MAX_DOCUMENT_BYTES // 2))

    def test_a_large_document_is_refused_unparsed(self) -> None:
        with pytest.raises(ValidationError, match="larger than 1000 bytes"):
            ChatJob.parse(b"[" * 1001, max_bytes=1000)

    def test_the_cap_is_the_callers(self) -> None:
        assert ChatJob.parse({"messages": "x" * 5_000_000}, max_bytes=6_000_000)
        with pytest.raises(ValidationError):
            ChatJob.parse({"messages": "x" * 2000}, max_bytes=1000)

    def test_message_objects_count_too(self) -> None:
        with pytest.raises(ValidationError) as caught:
            ChatJob(messages=[Message(role="user", content="x" * 5_000_000)])
        assert caught.value.param == "messages"

    def test_depth_is_bounded(self) -> None:
        deep: Any = {}
        for _ in range(65):
            deep = {"a": deep}
        with pytest.raises(ValidationError, match="nested deeper"):
            ChatJob(messages="hi", metadata=deep)

    def test_absurd_depth_and_cycles_end_in_the_same_error(self) -> None:
        deep: Any = []
        for _ in range(sys.getrecursionlimit() * 10):
            deep = [deep]
        circle: Any = {}
        circle["a"] = circle
        for value in ({"a": deep}, circle):
            with pytest.raises(ValidationError) as caught:
                ChatJob(messages="hi", metadata=value)
            assert caught.value.param == "metadata"


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"5", "null", b"\xff", b"[" * 5000, None, 5, [1]])
def test_what_is_no_job(document: Any) -> None:
    with pytest.raises(ValidationError):
        ChatJob.parse(document)


def test_no_content_in_a_repr() -> None:
    job = ChatJob(
        messages=SECRET, system=SECRET, metadata={"a": SECRET}, params={"user": SECRET, "stop": SECRET}
    )
    assert SECRET not in repr(job) + str(job)
    assert job.job_id in repr(job)
    assert "metadata=an object with 1 keys" in repr(job)
    assert "metadata" not in repr(ChatJob(messages="hi"))  # nothing is said of what is empty


class TestFingerprint:
    def test_generated_fields_do_not_count(self) -> None:
        one = ChatJob(messages="hi", session_id="a", idempotency_key="k")
        assert fingerprint(one) == fingerprint(ChatJob(messages="hi", session_id="a", idempotency_key="k"))

    def test_a_default_counts_as_given_and_order_does_not(self) -> None:
        assert fingerprint(ChatJob(messages="hi", priority=5)) == fingerprint(ChatJob(messages="hi"))
        one = ChatJob(messages="hi", metadata={"a": 1, "b": 2})
        assert fingerprint(one) == fingerprint(ChatJob(messages="hi", metadata={"b": 2, "a": 1}))

    @pytest.mark.parametrize(
        "change", [{"messages": "ho"}, {"model": "a/b"}, {"params": {"temperature": 1}}, {"priority": 6}]
    )
    def test_a_change_shows(self, change: Any) -> None:
        assert fingerprint(ChatJob(**{"messages": "hi", **change})) != fingerprint(ChatJob(messages="hi"))

    def test_the_session_of_a_key(self) -> None:
        assert session_for("a", "bc") != session_for("ab", "c")
        assert session_for(None, "k") == session_for(None, "k")

    def test_only_names_of_keys_are_kept(self) -> None:
        assert is_key_session(session_for("a", "k"))
        assert not any(map(is_key_session, ("key-1", "key-" + "g" * 40, session_for("a", "k") + "0")))


def test_statuses() -> None:
    assert [status for status in Status if not status.ended] == [Status.QUEUED, Status.RUNNING]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tenant": ""}, "tenant: must not be empty"),
        ({"tenant": "x" * 300}, "tenant: must have at most 256 characters, not 300"),
        ({"tenant": 5}, "tenant: must be a string, not 5"),
        ({"files": "abc"}, "files: must be a list, not a string of 3 characters"),
        (
            {"run_at": "yesterday"},
            "run_at: must be Unix time in seconds or a datetime with a time zone, "
            "not a string of 9 characters",
        ),
        ({"metadata": {"a": [object()]}}, "metadata.a[0]: must be JSON, not an object"),
        ({"metadata": {"a\n": {"b": {1}}}}, "metadata.a?.b: must be JSON, not a set"),
        ({"metadata": {5: 1}}, "metadata: has a key that is 5; keys must be strings"),
        ({"args[1]": 1, "args[2]": 1}, "args[1]: is not a known field; args[2]: is not a known field"),
        ({"params": 5}, "params: must be an object, not 5"),
        (
            {"complete": {"continue_delay": (1, 2, 3)}},
            "complete.continue_delay: must have at most 2 items, not 3",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"id": "a", "name": "f", "arguments": "\ud83d"}]}
                ]
            },
            "messages[0].tool_calls[0].arguments: "
            "holds half of a surrogate pair, which no encoding can carry",
        ),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ChatJob.parse({"messages": "x", **fields})
    assert str(caught.value) == message
    assert caught.value.param == message.partition(": ")[0]


def test_a_continue_prompt_is_a_text_or_the_name_of_a_registered_function() -> None:
    def numbered(*_: object) -> str:
        return ""

    setattr(numbered, PromptName.MARK, "numbered")
    for prompt in (numbered, {"name": "numbered"}, PromptName(name="numbered")):
        job = ChatJob(messages="x", complete={"continue_prompt": prompt})
        assert ChatJob.parse(job.to_json()) == job
        assert job.complete is not None
        assert job.complete.continue_prompt == PromptName(name="numbered")
    assert Completion(continue_prompt="Go on.").continue_prompt == "Go on."


@pytest.mark.parametrize("prompt", [lambda *_: "more", str, print])
def test_a_function_that_no_worker_knows_is_refused(prompt: Any) -> None:
    with pytest.raises(ValidationError, match="is a function, which cannot travel") as raised:
        ChatJob(messages="x", complete={"continue_prompt": prompt})
    assert raised.value.param == "complete.continue_prompt"


@pytest.mark.parametrize("prompt", ["", 5, {"name": ""}, {}, None])
def test_other_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(ValidationError, match=r"^complete\.continue_prompt"):
        ChatJob(messages="x", complete={"continue_prompt": prompt})
