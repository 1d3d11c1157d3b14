"""How a message of a task is told from what is none."""

import json
import pickle
from typing import Any

import pytest
from kombu import enable_insecure_serializers
from kombu.message import Message
from kombu.serialization import disable_insecure_serializers

from palaver.workers.pool.malformed import is_task_id, task_of

CALL = {"task": "palaver.submit", "args": [], "kwargs": {}}


def message(body: Any, headers: Any = None, content_type: str = "application/json") -> Message:
    return Message(body=body, headers=headers or {}, content_type=content_type, content_encoding="utf-8")


def test_the_task_is_in_the_headers_or_of_the_first_protocol_in_the_body() -> None:
    assert task_of(message("[[],{},{}]", {"task": "own"})) == "own"
    assert task_of(message(json.dumps(CALL))) == "palaver.submit"


@pytest.mark.parametrize("body", ["", "{", "[]", "7", "{}", b"\xff", "[" * 100_000])
def test_what_names_no_task_is_of_none(body: Any) -> None:
    assert task_of(message(body)) is None
    assert task_of(None) is None


class Unread:
    """Must not be made of a message."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("it was read",))


def test_nothing_but_json_is_read_whatever_may_be() -> None:
    enable_insecure_serializers()
    try:
        sent = pickle.dumps({**CALL, "args": [Unread()]})
        assert task_of(message(sent, content_type="application/x-python-serialize")) is None
    finally:
        disable_insecure_serializers()


def test_an_id_is_a_text_of_some_length() -> None:
    assert is_task_id("x" * 1000)
    assert not any(map(is_task_id, ["x" * 1001, 5, None, ["x"], {}]))
