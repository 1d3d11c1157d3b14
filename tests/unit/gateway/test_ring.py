"""The ring of a session's last events: whoever has a place in it is told each event once, in order."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.producer.cursor import Entry, decode
from palaver.producer.gateway.fanout import ring as rings
from palaver.producer.gateway.fanout.frames import encode, parse_cursor
from palaver.producer.gateway.fanout.ring import Ring


def entry(seq: int, size: int = 0, *, made: bool = False) -> Entry:
    raw = orjson.dumps({"seq": seq, "job_id": "j", "type": "text_chunk", "data": {"delta": "x" * size}})
    return decode(raw)._replace(made=made)


def test_an_event_is_one_block_with_its_cursor() -> None:
    assert encode(entry(7)).startswith(b"id: 7\ndata: {")
    broken = entry(7)._replace(raw=b'{"seq":\n7}')
    assert encode(broken).count(b"\n") == 3, "a line break in the JSON would end the event"


@pytest.mark.parametrize(
    ("text", "seq"),
    [
        ("17", 17),
        ("0", 0),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("9" * 19, None),
    ],
)
def test_a_cursor_is_a_seq(text: str | None, seq: int | None) -> None:
    assert parse_cursor(text) == seq


def test_a_place_is_found_by_the_cursor_alone_while_events_follow_each_other() -> None:
    ring = Ring(10)
    assert ring.place_behind(10) == 0
    assert ring.place_behind(9) is None
    assert ring.place_behind(11) is None
    ring.add([entry(11), entry(12)])
    assert [ring.place_behind(seq) for seq in (9, 10, 11, 12, 13)] == [None, 0, 1, 2, None]
    ring.add([entry(12, made=True), entry(15, made=True)])
    assert [ring.place_behind(seq) for seq in (11, 12, 14, 15)] == [None, None, None, 4]
    ring.add([entry(16)])
    assert [ring.place_behind(seq) for seq in (14, 15, 16)] == [None, 4, 5]


def test_it_is_bounded() -> None:
    ring = Ring(0)
    ring.add(entry(seq) for seq in range(1, 1000))
    assert ring.place_behind(999 - rings.RING_FRAMES) is not None
    assert ring.place_behind(998 - rings.RING_FRAMES) is None
    ring.add(entry(seq, size=50_000) for seq in range(1000, 1010))
    assert ring.place_behind(1004) is not None
    assert ring.place_behind(1000) is None
    ring.add([entry(1010, size=2 * rings.RING_BYTES)])
    place = ring.place_behind(1009)
    assert place is not None
    piece = ring.behind(place)
    assert piece is not None
    assert len(piece.data) > 2 * rings.RING_BYTES, (
        "an event that is larger than the ring is told all the same"
    )


@settings(max_examples=25)
@given(st.data())
def test_readers_that_take_at_any_time_are_told_each_event_once(data: st.DataObject) -> None:
    """Each takes when it likes; who is told that its place is gone comes back by its cursor, from the log."""
    ring, log = Ring(0), list[Entry]()
    readers = [{"place": 0, "seq": 0, "told": b""} for _ in range(3)]
    for _ in range(data.draw(st.integers(1, 12))):
        count, size = data.draw(st.integers(0, 300)), data.draw(st.sampled_from([0, 3000, 70_000]))
        new = [entry(len(log) + number, size if number < 4 else 0) for number in range(1, count + 1)]
        log += new
        ring.add(new)
        for reader in data.draw(st.lists(st.sampled_from(readers), unique_by=id)):
            _take(reader, ring, log)
    for reader in readers:
        _take(reader, ring, log)
        assert reader["told"] == b"".join(map(encode, log))


def _take(reader: dict[str, object], ring: Ring, log: list[Entry]) -> None:
    while True:
        assert isinstance(reader["place"], int)
        piece = ring.behind(reader["place"])
        if piece is None:  # one page of the log, and then the ring
            assert isinstance(reader["seq"], int)
            missed = log[reader["seq"] :]
            reader["told"] += b"".join(map(encode, missed))  # type: ignore[operator]
            place = ring.place_behind(len(log))
            assert place is not None
            reader |= {"seq": len(log), "place": place}
            continue
        if not piece.data:
            return
        assert len(piece.data) <= max(rings.LARGEST_PIECE, 71_000)
        reader["told"] += piece.data  # type: ignore[operator]
        reader |= {"seq": piece.seq, "place": piece.place}
