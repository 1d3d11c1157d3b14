"""The event stream format, and newline-delimited JSON, on their own."""

import pytest

from palaver.shared.errors import MalformedStreamError
from palaver.workers.providers.ndjson import LineDecoder
from palaver.workers.providers.sse import ServerEvent, SseDecoder


def events(*reads: bytes, finish: bool = True) -> list[tuple[bytes, bytes]]:
    decoder = SseDecoder()
    found = [event for read in reads for event in decoder.feed(read)]
    found += decoder.finish() if finish else []
    return [(event.event, event.data) for event in found]


@pytest.mark.parametrize(
    ("stream", "wanted"),
    [
        (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"data:a\n\n", [(b"", b"a")]),
        (b"data:  a \n\n", [(b"", b" a ")]),
        (b"data: a\ndata: b\n\n", [(b"", b"a\nb")]),
        (b"data\n\n", [(b"", b"")]),
        (b"data: a\n\n\n\n", [(b"", b"a")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [(b"x", b"a"), (b"", b"b")]),
        (b"event: x\n\ndata: b\n\n", [(b"", b"b")]),
        (b": note\ndata: a\nid: 1\nretry: 5\nother: x\n\n", [(b"", b"a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n", [(b"", b"a"), (b"", b"b"), (b"", b"c")]),
        (b"data: a\n data: b\n\n", [(b"", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\xe2\x80\xa8b\xc2\x85c\x0b\x0c\n\n", [(b"", b"a\xe2\x80\xa8b\xc2\x85c\x0b\x0c")]),
        (b"data: a", [(b"", b"a")]),
        (b"data: a\n", [(b"", b"a")]),
        (b"", []),
    ],
)
def test_the_format(stream: bytes, wanted: list[tuple[bytes, bytes]]) -> None:
    assert events(stream) == wanted
    assert events(*(stream[i : i + 1] for i in range(len(stream)))) == wanted


def test_an_event_leaves_with_the_byte_that_completes_it() -> None:
    assert events(b"data: a\n", b"\n", finish=False) == [(b"", b"a")]
    assert events(b"data: a\r\n\r", finish=False) == [(b"", b"a")]
    assert events(b"data: a\r\n\r", b"\ndata: b\r\n\r", finish=False) == [(b"", b"a"), (b"", b"b")]


def test_whole_events_of_one_read_take_the_short_way_with_the_same_result() -> None:
    several = b"data: a\n\ndata: b\n\ndata: c\n\n"
    assert SseDecoder().feed(several) == [ServerEvent(b"a"), ServerEvent(b"b"), ServerEvent(b"c")]
    assert events(b"data: a\nevent: x\n\n") == [(b"x", b"a")]
    assert events(b"data: a\n\nevent: x\ndata: b\n\n") == [(b"", b"a"), (b"x", b"b")]


def test_memory_is_bounded_and_what_came_before_still_comes() -> None:
    decoder = SseDecoder(limit=100)
    assert decoder.feed(b"data: a\n\ndata: " + b"x" * 60) == [ServerEvent(b"a")]
    assert decoder.error is None
    assert decoder.feed(b"x" * 60) == []
    assert isinstance(decoder.error, MalformedStreamError)
    assert "100 bytes" in decoder.error.message
    assert decoder.feed(b"\n\ndata: b\n\n") == []
    assert decoder.finish() == []


def test_many_data_lines_are_bounded_too() -> None:
    decoder = SseDecoder(limit=100)
    for _ in range(20):
        decoder.feed(b"data: xxxxxxxxxx\n")
    assert isinstance(decoder.error, MalformedStreamError)


def test_lines() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b'\xef\xbb\xbf{"a"') == []
    assert decoder.feed(b':1}\r\n\n  \n{"b":2}\n{"c"') == [b'{"a":1}', b'{"b":2}']
    assert decoder.feed(b":3}") == []
    assert decoder.finish() == [b'{"c":3}']


def test_lines_are_bounded() -> None:
    decoder = LineDecoder(limit=100)
    assert decoder.feed(b"{}\n" + b"x" * 101) == [b"{}"]
    assert isinstance(decoder.error, MalformedStreamError)
    assert decoder.feed(b"\n{}\n") == []
