"""What an API that takes nothing back is told of a job's events."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.producer.cursor import Entry, decode
from palaver.producer.gateway.translation import Translation
from palaver.shared.errors import PalaverError
from palaver.shared.responses import ChatResponse


class Words:
    """A dialect that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, model: str) -> bytes:
        self.said.append(f"<{model}>")
        return b"b"

    def text(self, delta: str) -> bytes:
        self.said.append(delta)
        return b"t"

    def reasoning(self, delta: str) -> bytes:
        self.said.append(f"({delta})")
        return b"r"

    def thought(self, block: Mapping[str, Any], length: int) -> bytes:
        self.said.append(f"[{length}]")
        return b"s"

    def end(self, response: ChatResponse) -> bytes:
        self.said.append(".")
        return b"e"

    def failed(self, error: PalaverError) -> bytes:
        self.said.append(f"!{error.code}")
        return b"f"


def entry(kind: str, **data: Any) -> Entry:
    return decode(orjson.dumps({"seq": 1, "job_id": "j", "type": kind, "data": data}))


def start(offset: int = 0) -> Entry:
    return entry("stream_start", model="m", offset=offset)


def text(delta: str) -> Entry:
    return entry("text_chunk", delta=delta)


def reasoning(delta: str) -> Entry:
    return entry("reasoning_chunk", delta=delta)


def signed(length: int) -> Entry:
    return entry("thinking_block", block={"type": "thinking", "signature": "s"}, length=length)


def end(content: str, reasoning: str | None = None) -> Entry:
    response = {"content": content, "reasoning": reasoning}
    return entry("stream_end", status="completed", response=response)


def told(*entries: Entry) -> str:
    words = Words()
    translation = Translation(words, model="asked")
    for one in entries:
        translation.feed([one])
    return "".join(words.said)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([entry("job_queued"), start(), text("a"), text("b"), end("ab")], "<asked>ab."),
        ([start(), text("a"), start(1), text("b"), end("ab")], "<asked>ab."),
        ([start(), text("ab"), start(), text("a"), text("bc"), end("abc")], "<asked>abc."),
        ([start(), text("ab"), start(), text("ax"), end("ax")], "<asked>ab!stream_interrupted"),
        ([start(), text("ab"), start(), text("a"), end("a")], "<asked>ab!stream_interrupted"),
        ([start(), text("a"), entry("resync", text="ab"), text("c"), end("abc")], "<asked>abc."),
        ([entry("resync", text="ab", reasoning="r"), end("ab")], "<asked>(r)ab."),
        ([start(), entry("reasoning_chunk", delta="r"), text("a"), end("a")], "<asked>(r)a."),
        ([start(), text("a"), end("abc")], "<asked>abc."),
        ([start(), reasoning("r"), signed(1), text("a"), end("a", "r")], "<asked>(r)[1]a."),
        ([start(), reasoning("rs"), start(), reasoning("r"), signed(1), end("", "rs")], "<asked>(rs)."),
        ([end("")], "<asked>."),
        ([entry("stream_end", status="cancelled")], "!job_cancelled"),
        ([start(), text("a"), entry("stream_end", status="expired"), text("b")], "<asked>a!job_expired"),
        ([entry("something_new"), start(), end("")], "<asked>."),
    ],
)  # fmt: skip
def test_nothing_is_told_twice_or_taken_back(entries: list[Entry], expected: str) -> None:
    assert told(*entries) == expected


@given(st.lists(st.text("ab", max_size=3), max_size=6), st.lists(st.integers(0, 6), max_size=3), st.data())
def test_an_answer_that_begins_anew_is_told_once(
    deltas: list[str], cuts: list[int], data: st.DataObject
) -> None:
    """Attempts say the beginning of one text, each in pieces of its own."""
    whole = "".join(deltas)
    entries: list[Entry] = []
    for cut in [*cuts, len(whole)]:
        said, place = whole[:cut], 0
        entries.append(start())
        while place < len(said):
            size = data.draw(st.integers(1, len(said) - place))
            entries.append(text(said[place : place + size]))
            place += size
    assert told(*entries, end(whole)) == f"<asked>{whole}."
