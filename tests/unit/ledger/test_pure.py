"""The parts of the ledger that need no Redis."""

from typing import Any

import pytest

from palaver.shared.errors import (
    ConfigurationError,
    FencedError,
    InternalError,
    JobEndedError,
    JobGoneError,
    LedgerFullError,
    SequenceGapError,
)
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Keys, Retention, exchange, incoming, load, operations, script_names
from palaver.shared.ledger.keys import due_member, parse_due_member
from palaver.shared.settings import Settings

KEYS = Keys()


def appending(**options: Any) -> Any:
    values: dict[str, Any] = {"fence": "3:t1", "first": 7, "events": [b'"type":"x","data":{}', b"second"]}
    return operations.append(KEYS, "s1", "job-1", **(values | options))


def test_all_keys_of_a_session_share_its_slot() -> None:
    keys = Keys("ns")
    for key in (keys.events("s"), keys.job("s", "j"), keys.text("s", "j"), keys.idempotency("s", "k {x}")):
        assert key.startswith("ns:{s}:")
    assert keys.channel("s") == "ns:{s}"
    assert parse_due_member(due_member("a:b.c", "01-x").encode()) == ("a:b.c", "01-x")


@pytest.mark.parametrize("namespace", ["", "a{b", "a b", "a\n"])
def test_a_namespace_that_would_move_keys_is_refused(namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="PALAVER_NAMESPACE"):
        Keys(namespace)


@pytest.mark.parametrize("name", script_names())
def test_scripts_are_whole_and_say_what_they_touch(name: str) -> None:
    script = load(name)
    lines = script.source.splitlines()
    assert not [line for line in lines if line.startswith("-- include")]
    head = [line for line in lines if line.startswith("--")]
    assert head[0].startswith(f"-- {name}: ")
    assert any(line.startswith("-- KEYS 1 palaver:") for line in head)
    assert any(line.startswith("-- reply") for line in head) or name in {"watch", "index"}
    # It changes what it reads and writes again: nothing that a job says goes through it.
    assert name.startswith("gate_") or "cjson" not in script.source.replace("(cjson would", "")
    assert script.source not in repr(script)


def test_arguments_of_append_stand_where_the_publisher_packs_them() -> None:
    operation = appending(text="t", reasoning="r", reset=True, log_entries=50)
    constant = operation.args[: operations.APPEND_CONSTANT]
    assert constant == ("s1", "job-1", "3:t1", 50)
    assert operation.args[operations.APPEND_CONSTANT : operations.APPEND_FIXED] == (7, 1, "t", "r")
    assert operation.args[operations.APPEND_FIXED :] == (b'"type":"x","data":{}', b"second")
    assert operation.evalsha()[:4] == ("EVALSHA", operation.script.sha, 1, "palaver:{s1}")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ([b"fenced"], FencedError),
        ([b"ended", b"failed"], JobEndedError),
        ([b"gone"], JobGoneError),
        ([b"gap", 4], SequenceGapError),
        ([b"???"], InternalError),
        (RuntimeError("OOM command not allowed when used memory > 'maxmemory'."), LedgerFullError),
        (RuntimeError("command not allowed when used memory > 'maxmemory'."), LedgerFullError),
        (RuntimeError("ERR secret prompt"), InternalError),
    ],
)
def test_verdicts_become_errors(reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        appending().decode(reply)
    assert "prompt" not in str(caught.value)


def test_retention_comes_from_the_settings() -> None:
    retention = Retention.of(Settings(retention=60, log_retention=0.5, log_maxlen=7))
    assert retention.args() == (7, 60_000, 500, 30 * 24 * 3600 * 1000, "1000 33554432")


def test_what_a_job_adds_to_the_history() -> None:
    conversation = [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "Two"},
    ]
    whole = ChatJob(messages=conversation)
    assert operations.new_messages(whole) == [b'{"role":"user","content":"Two"}']
    turn = ChatJob(messages="Three", history="session", session_id="s")
    assert operations.new_messages(turn) == [b'{"role":"user","content":"Three"}']


def test_an_unknown_script_is_sent_whole_once() -> None:
    operation = appending()
    conversation = exchange.run(operation)
    assert next(conversation) == [operation.evalsha()]
    (words,) = conversation.send([RuntimeError("NOSCRIPT No matching script.")])
    assert words == ("EVAL", operation.script.source, *operation.evalsha()[2:])
    with pytest.raises(StopIteration) as done:
        conversation.send([[b"ok", b"", 8]])
    assert done.value.value.last_taken == 8


def test_many_get_their_verdicts_behind_the_first_which_brings_an_unknown_script() -> None:
    operation = appending()
    conversation = exchange.run_many([operation] * 3)
    assert next(conversation) == [operation.evalsha()]
    (whole,) = conversation.send([RuntimeError("NOSCRIPT No matching script.")])
    assert whole == ("EVAL", operation.script.source, *operation.evalsha()[2:])
    assert conversation.send([[b"ok", b"", 8]]) == [operation.evalsha()] * 2
    with pytest.raises(StopIteration) as done:
        conversation.send([[b"ok", b"", 9], [b"fenced"]])
    first, second, third = done.value.value
    assert (first.last_taken, second.last_taken) == (8, 9)
    assert isinstance(third, FencedError)


def test_of_many_that_are_unknown_one_is_sent_whole() -> None:
    operation = appending()
    conversation = exchange.run_many([operation] * 3)
    next(conversation)
    conversation.send([[b"ok", b"", 8]])
    unknown = RuntimeError("NOSCRIPT No matching script.")
    whole, by_hash = conversation.send([unknown, unknown])
    assert whole == ("EVAL", operation.script.source, *operation.evalsha()[2:])
    assert by_hash == operation.evalsha()


def test_what_follows_an_unknown_script_is_sent_again_behind_it() -> None:
    job = ChatJob(messages="Hi", session_id="s")
    conversation = exchange.run(operations.submit(KEYS, job, retention=Retention()))
    _, watch, submit = next(conversation)
    again = conversation.send([b"OK", RuntimeError("NOSCRIPT No matching script."), [b"conflict", b"j"]])
    assert [words[0] for words in again] == ["EVAL", "EVALSHA"]
    assert [words[2:] for words in again] == [watch[2:], submit[2:]]


def test_only_an_id_that_came_from_elsewhere_costs_a_submit_a_round_trip() -> None:
    ours = ChatJob(messages="Hi", session_id="s")
    named = ChatJob(messages="Hi", session_id="s", job_id="job-1")
    for job, first in ((ours, []), (named, ["SET", "GET"])):
        conversation = incoming.submit(KEYS, job, retention=Retention())
        sent = [words[0] for words in next(conversation)]
        if first:
            assert sent == first
            sent = [words[0] for words in conversation.send([b"OK", b"s"])]
        assert sent == ["SET", "EVALSHA", "EVALSHA"]
        with pytest.raises(StopIteration):
            conversation.send([b"OK", b"ok", [b"ok", job.job_id, 0, 1, b"queued", 0, b"", b"", 0]])


def test_a_refused_command_before_a_script_is_the_result() -> None:
    job = ChatJob(messages="Hi", session_id="s")
    conversation = exchange.run(operations.submit(KEYS, job, retention=Retention()))
    sent = next(conversation)
    assert [words[0] for words in sent] == ["SET", "EVALSHA", "EVALSHA"]
    full = RuntimeError("OOM command not allowed when used memory > 'maxmemory'.")
    with pytest.raises(LedgerFullError):
        conversation.send([full, full, full])


def test_replies_and_operations_show_no_content() -> None:
    claim = operations.claim(KEYS, "s1", "job-1", token="t", worker="w", lease=1)
    claimed = claim.decode(
        [b"ok", b"1:t", *[b"secret"] * 3, 0, b"", 10, 20, [b"secret"], [b"secret"], b"", 0, b"secret", b"", 0]
    )
    assert "secret" not in repr(claimed)
    job = ChatJob(messages="secret", session_id="s")
    operation = operations.submit(KEYS, job, retention=Retention())
    assert "secret" not in repr(operation)
