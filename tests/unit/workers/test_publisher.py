"""The publisher over a connection that a test can hold up or cut."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.errors import (
    FencedError,
    JobCancelledError,
    JobExpiredError,
    LedgerUnavailableError,
    PalaverError,
    SequenceGapError,
)
from palaver.shared.ledger import Keys
from palaver.workers.publisher import HIGH_WATER, Publisher, Writer
from tests.unit.workers.ledgers import Connection, Job, claimed

FOREVER = float("inf")


class Desk:
    """A publisher, its connection, and a clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.connection = Connection()
        self.publisher = Publisher(
            self.connection, Keys("t"), log_entries=100, answer_bytes=5000, clock=lambda: self.now
        )

    def open(self, job_id: str = "j1", *, text: str = "", until: float = FOREVER) -> Writer:
        self.connection.jobs[job_id] = Job(text=text)
        return self.publisher.open(claimed(job_id, text=text), confirmed_until=until)

    def job(self, job_id: str = "j1") -> Job:
        return self.connection.jobs[job_id]


def texts(job: Job) -> list[str]:
    return [event["data"]["delta"] for event in job.events if event["type"] == "text_chunk"]


async def test_an_idle_publisher_sends_in_the_same_turn_and_merges_what_one_read_brought() -> None:
    desk = Desk()
    writer = desk.open()
    writer.text("Hel")
    writer.text("lo")
    await asyncio.sleep(0)
    desk.connection.reply()
    assert texts(desk.job()) == ["Hello"]
    assert desk.job().text == "Hello"


async def test_what_gathers_during_a_round_trip_leaves_together_when_the_replies_are_in() -> None:
    desk = Desk()
    one, other = desk.open("j1"), desk.open("j2")
    one.text("a")
    await asyncio.sleep(0)
    for delta in "bcd":
        one.text(delta)
        other.text(delta)
    await asyncio.sleep(0)
    assert len(desk.connection.frames) == 1
    desk.connection.reply()
    assert len(desk.connection.frames) == 1  # without another turn of the loop
    desk.connection.reply()
    assert (texts(desk.job("j1")), texts(desk.job("j2"))) == (["a", "bcd"], ["bcd"])
    assert desk.publisher.batches == 2


async def test_a_canary_says_when_the_oldest_word_of_its_batch_was_said() -> None:
    desk = Desk()
    writer = desk.open()
    writer.text("a")
    await asyncio.sleep(0)
    desk.now = 1.0
    writer.text("b")
    desk.now = 4.0
    desk.publisher.send_canary("canaries")
    assert len(desk.connection.frames) == 1, "it waits for the round trip, as the words do"
    desk.connection.reply()
    desk.connection.reply()
    assert texts(desk.job()) == ["a", "b"]
    assert desk.connection.published == [("canaries", "1.0")]
    assert (desk.publisher.batches, desk.publisher.appends) == (2, 2)


async def test_a_canary_of_an_idle_publisher_leaves_at_once_and_holds_up_nothing() -> None:
    desk = Desk()
    writer = desk.open()
    desk.now = 2.0
    desk.publisher.send_canary("canaries")
    await asyncio.sleep(0)
    writer.text("a")
    desk.connection.reply()
    assert desk.connection.published == [("canaries", "2.0")]
    desk.connection.reply()
    assert texts(desk.job()) == ["a"]
    assert (desk.publisher.batches, desk.publisher.appends) == (1, 1)


async def test_only_adjacent_deltas_of_one_kind_are_merged() -> None:
    desk = Desk()
    writer = desk.open()
    writer.text("a")
    writer.reasoning("b")
    writer.reasoning("c")
    writer.event("warning", {"code": "x"})
    writer.text("d")
    writer.text("e", b'{"n":1}')
    writer.text("f")
    await asyncio.sleep(0)
    desk.connection.reply()
    told = [(event["type"], event["data"].get("delta")) for event in desk.job().events]
    assert told == [
        ("text_chunk", "a"),
        ("reasoning_chunk", "bc"),
        ("warning", None),
        ("text_chunk", "d"),
        ("text_chunk", "e"),
        ("text_chunk", "f"),
    ]
    assert desk.job().events[4]["data"]["raw"] == {"n": 1}
    assert (desk.job().text, desk.job().reasoning) == ("adef", "bc")


async def test_offset_zero_drops_the_text_also_what_was_not_sent_yet() -> None:
    desk = Desk()
    writer = desk.open(text="old")
    writer.text("lost")
    writer.start(model="m", provider="p", offset=0)
    writer.text("new")
    await asyncio.sleep(0)
    desk.connection.reply()
    assert desk.job().text == "new"
    assert writer.said == b"new"


async def test_half_surrogate_pairs_become_whole_or_a_replacement() -> None:
    desk = Desk()
    writer = desk.open()
    writer.text("a\ud83db\ud83d\ude00")
    await asyncio.sleep(0)
    desk.connection.reply()
    assert desk.job().text == "a\ufffdb😀" == "".join(texts(desk.job()))


async def test_nothing_is_sent_on_an_unconfirmed_lease_and_all_of_it_once_confirmed() -> None:
    desk = Desk()
    writer = desk.open(until=10.0)
    desk.now = 10.0
    writer.text("a")
    await asyncio.sleep(0)
    writer.text("b")
    await asyncio.sleep(0)
    assert desk.connection.frames == []
    writer.confirm(20.0)
    await asyncio.sleep(0)
    desk.connection.reply()
    assert texts(desk.job()) == ["ab"]


async def test_drain_waits_while_too_much_has_gathered() -> None:
    desk = Desk()
    writer = desk.open()
    writer.text("a")
    await asyncio.sleep(0)
    writer.text("b" * (HIGH_WATER + 1))
    assert writer.full
    drained = asyncio.create_task(writer.drain())
    await asyncio.sleep(0)
    assert not drained.done()
    desk.connection.reply()
    await drained
    desk.connection.reply()
    await writer.flush()
    assert len(desk.job().text) == HIGH_WATER + 2


@pytest.mark.parametrize(
    ("reply", "expected"),
    [([b"fenced"], FencedError), ([b"gap", 0], SequenceGapError), ([b"what"], PalaverError)],
)
async def test_a_verdict_stops_the_writer_and_reaches_everybody_who_waits(
    reply: list[object], expected: type[PalaverError]
) -> None:
    desk = Desk()
    writer = desk.open()
    told: list[PalaverError] = []
    writer.on_stop(told.append)
    desk.job().refusal = reply
    writer.text("a")
    flushed = asyncio.create_task(writer.flush())
    await asyncio.sleep(0)
    desk.connection.reply()
    with pytest.raises(expected):
        await flushed
    writer.text("b")
    await asyncio.sleep(0)
    await writer.drain()
    assert desk.connection.frames == []
    assert [type(reason) for reason in told] == [type(writer.verdict)]


@pytest.mark.parametrize(
    ("flag", "expected"), [(b"interrupt", JobCancelledError), (b"expire", JobExpiredError)]
)
async def test_the_cancel_flag_is_told_once_and_stops_no_writing(
    flag: bytes, expected: type[PalaverError]
) -> None:
    desk = Desk()
    writer = desk.open()
    told: list[PalaverError] = []
    writer.on_stop(told.append)
    desk.job().cancel = flag
    for delta in "ab":
        writer.text(delta)
        await asyncio.sleep(0)
        desk.connection.reply()
    await writer.flush()
    assert [type(reason) for reason in told] == [expected]
    assert desk.job().text == "ab"


async def test_a_stopped_link_ends_every_wait() -> None:
    desk = Desk()
    writer = desk.open()
    writer.text("a")
    await asyncio.sleep(0)
    desk.connection.stop()
    with pytest.raises(LedgerUnavailableError):
        await writer.flush()


WRITERS = ("j1", "j2", "j3")
DELTAS = st.text(st.characters(codec=None), min_size=0, max_size=6) | st.sampled_from(
    ["👩‍🚀", "日本", "\ud83d", '"\\\n']
)
STEPS = st.lists(
    st.tuples(st.just("text"), st.sampled_from(WRITERS), DELTAS)
    | st.tuples(st.just("reasoning"), st.sampled_from(WRITERS), DELTAS)
    | st.tuples(st.just("event"), st.sampled_from(WRITERS), st.just(""))
    | st.tuples(st.sampled_from(["turn", "reply", "cut"]), st.just(""), st.just("")),
    max_size=60,
)


@given(steps=STEPS, cuts=st.randoms())
async def test_any_interleaving_of_deltas_cuts_and_replies_yields_exactly_the_concatenation(
    steps: list[tuple[str, str, str]], cuts: Random
) -> None:
    desk = Desk()
    writers = {name: desk.open(name) for name in WRITERS}
    for step, name, delta in steps:
        if step in ("text", "reasoning"):
            getattr(writers[name], step)(delta)
        elif step == "event":
            writers[name].event("progress", {"done": 1})
        elif step == "turn":
            await asyncio.sleep(0)
        elif desk.connection.frames and step == "cut":
            desk.connection.cut(cuts.randint(0, desk.connection.frames[0][1]))
        elif desk.connection.frames:
            desk.connection.reply()
    await asyncio.sleep(0)
    while desk.connection.frames:
        desk.connection.reply()
    for name, writer in writers.items():
        await writer.flush()
        job = desk.job(name)
        assert job.text == writer.said.decode() == "".join(texts(job))
        assert job.reasoning == writer.thought.decode()
        assert len(job.events) == job.taken
        said = [delta for step, to, delta in steps if step == "text" and to == name]
        assert job.text == "".join(map(whole, said))


def whole(delta: str) -> str:
    """A delta as text: halves of surrogate pairs are none."""
    return delta.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
