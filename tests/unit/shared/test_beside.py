"""Large documents are read beside the event loop."""

import asyncio
import threading

import pytest

from palaver.shared import beside as beside_module
from palaver.shared.beside import LARGE_BYTES, beside, whose
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.settings import Settings
from palaver.workers.submission import accept

LONG = b"x" * LARGE_BYTES
MANY = {"messages": [{"role": "user", "content": "x"}] * 2_000}


@pytest.mark.parametrize(("document", "is_beside"), [(b"x", False), ({}, False), (LONG, True), (MANY, True)])
async def test_a_large_one_is_left_to_another_thread(document: object, *, is_beside: bool) -> None:
    where = await beside(threading.get_ident, document)
    assert (where != threading.get_ident()) is is_beside


async def test_the_loop_goes_on_while_one_is_read() -> None:
    let = threading.Event()
    reading = asyncio.ensure_future(beside(let.wait, LONG))
    asyncio.get_running_loop().call_soon(let.set)  # which nothing would run if the loop stood still
    assert await reading


async def test_who_brings_many_has_others_wait_for_one_of_them() -> None:
    read: list[str] = []
    let = threading.Event()

    async def bring(name: str) -> None:
        whose.set(name)
        await beside(let.wait, LONG)
        read.append(name)

    many = [asyncio.create_task(bring("many")) for _ in range(5)]
    await asyncio.sleep(0)  # all of them have come
    others = [asyncio.create_task(bring("other")), asyncio.create_task(bring("another"))]
    await asyncio.sleep(0)
    let.set()
    await asyncio.gather(*many, *others)
    assert read == ["many", "other", "another", *["many"] * 4]
    assert not beside_module._turns


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"messages": [{"role": "user", "content": [{}] * 150_000}]}, "messages[0].content[0]"),
        ({"messages": "x", "params": {"logit_bias": dict.fromkeys(map(str, range(100_000)), 999)}}, "places"),
        ({"messages": "x", "tools": [{"name": "a", **{f"k{n}": 1 for n in range(100_000)}}]}, "places"),
        ({"messages": [{}] * 400_000}, "more than 200000 values"),
    ],
)
def test_of_many_wrong_values_few_are_told(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as failed:
        ChatJob.parse(fields)
    assert told in failed.value.message
    assert len(failed.value.message) < 500


async def test_a_submitted_document_stops_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    parse = ChatJob.parse

    def noting(document: object, **options: int) -> ChatJob:
        threads.append(threading.get_ident())
        return parse({"messages": []}, **options)

    monkeypatch.setattr(ChatJob, "parse", noting)
    with pytest.raises(ValidationError):
        await accept(None, Settings(), MANY)  # type: ignore[arg-type]  # it names no job to end
    assert threads[0] != threading.get_ident()
