"""What is found in a message of `palaver.submit` that is too large to be read."""

import json
from typing import Any

import pytest

from palaver.workers.submission import document_in, most_bytes, names_in

NAMES = {"job_id": "j1", "session_id": "s1", "idempotency_key": "k1"}
DOCUMENT = {"metadata": {"a": [1, {}]}, **NAMES, "messages": "hello", "tenant": None}


@pytest.mark.parametrize(
    "call",
    [
        ([DOCUMENT], {}, {}),
        ([json.dumps(DOCUMENT), "more"], {}, {"callbacks": None}),
        ([], {"job": DOCUMENT}, {}),
        ([], {"job": json.dumps(DOCUMENT)}, {}),
        ([], DOCUMENT, {}),
        ([DOCUMENT, 7], {}, {}),
        ([{**DOCUMENT, "tenant": 7}], {}, {}),
        ([{**DOCUMENT, "session_id": None}], {"session_id": "s1"}, {}),
    ],
)
def test_the_names_are_found_wherever_a_call_may_have_them(call: Any) -> None:
    assert names_in(json.dumps(call)) == names_in(json.dumps(call).encode()) == NAMES


@pytest.mark.parametrize(
    "body",
    ["", "[", "[]", "7", '[["[]"],{},{}]', '[[{"job_id":7}],{},{}]', '[[{"job_id":"j1"}],{}]', b"\xff"],
)
def test_what_is_no_call_names_nothing(body: str | bytes) -> None:
    assert names_in(body) == {}


def test_no_document_is_too_large_by_how_celery_writes_it() -> None:
    for character in ("a", "é", "漢", "👋", "\x01", '"'):
        document = {"messages": character * 50_000}
        whole, text = json.dumps(document, ensure_ascii=False).encode(), json.dumps(document)
        assert len(json.dumps([[document], {}, {}])) <= most_bytes(len(whole))
        assert len(json.dumps([[text], {}, {}])) <= most_bytes(len(text))


@pytest.mark.parametrize(
    "call",
    [
        [[DOCUMENT], {}, {}],
        [[DOCUMENT], None],
        [7, {"job": DOCUMENT}, {}],
        [None, DOCUMENT, {}],
        {"args": [DOCUMENT], "kwargs": None},
        {"task": "palaver.submit", "kwargs": DOCUMENT},
    ],
)
def test_the_document_is_found_in_calls_of_both_protocols_that_are_half_right(call: Any) -> None:
    assert document_in(call) == DOCUMENT


@pytest.mark.parametrize("call", [7, None, "text", [], [[DOCUMENT]], {}, [{"a": 1}, [DOCUMENT], {}]])
def test_in_what_is_no_call_there_is_no_document(call: Any) -> None:
    assert document_in(call) is None
