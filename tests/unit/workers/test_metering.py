"""What a request is said to have used and cost, and what becomes of that over a job's workers."""

from typing import Any

import pytest

from palaver.shared.messages import Message
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import Usage
from palaver.shared.spending import Spending
from palaver.shared.tools import FunctionTool
from palaver.workers.metering import Bill, Meter
from palaver.workers.providers import GenerationRequest

REQUEST = GenerationRequest(
    model="m",
    messages=[
        Message(role="system", content="日本"),
        Message.model_validate(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "0123456789"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}},
                ],
            }
        ),
    ],
)
ASKED = 4  # tokens: 16 bytes of text; nobody knows what the picture is counted as
HERE, THERE = ModelRef("p", "m"), ModelRef("q", "n")


def price(usage: Usage, model: str | None) -> float | None:
    return None if model == "unknown" else (usage.total_tokens or 0) / 100


def read(told: Usage | None, said: int, *, whole: bool = True, model: str | None = None) -> Usage | None:
    return Meter(REQUEST, price).read(told, said=said, whole=whole, model=model)


def counts(usage: Usage | None) -> tuple[Any, ...]:
    assert usage is not None
    return (usage.input_tokens, usage.output_tokens, usage.estimated, usage.cost)


def test_what_the_provider_counts_is_taken() -> None:
    assert counts(read(Usage(input_tokens=7, output_tokens=3), 400)) == (7, 3, False, 0.1)
    assert counts(read(Usage(input_tokens=0, output_tokens=0), 400)) == (0, 0, False, 0)


def test_an_unknown_price_is_no_cost_of_nothing() -> None:
    assert counts(read(Usage(input_tokens=7, output_tokens=3), 400, model="unknown")) == (7, 3, False, None)


@pytest.mark.parametrize(
    ("told", "said", "whole", "expected"),
    [
        (None, 40, True, (ASKED, 10)),
        (None, 41, False, (ASKED, 11)),
        (None, 0, True, (ASKED, 0)),
        (Usage(input_tokens=9), 40, True, (9, 10)),
        (Usage(input_tokens=9, output_tokens=1), 40, False, (9, 10)),  # of the beginning, as Anthropic's
        (Usage(input_tokens=9, output_tokens=99), 40, False, (9, 99)),
    ],
)
def test_what_is_not_counted_is_estimated_and_marked(
    told: Usage | None, said: int, whole: bool, expected: tuple[int, int]
) -> None:
    usage = read(told, said, whole=whole)
    assert counts(usage)[:3] == (*expected, True)
    assert usage is not None
    assert usage.cost == sum(expected) / 100


def test_a_request_that_nobody_took_used_nothing() -> None:
    assert read(None, 0, whole=False) is None


def test_definitions_of_tools_are_asked_with() -> None:
    tool = FunctionTool(name="look", description="x" * 400)
    request = GenerationRequest(model="m", messages=[Message(role="user", content="y")], tools=[tool])
    usage = Meter(request, price).read(None, said=4, whole=True)
    assert usage is not None
    assert (usage.input_tokens or 0) > 100


def test_a_hit_costs_nothing() -> None:
    hit = Usage(input_tokens=7, output_tokens=3, from_cache=True)
    assert counts(read(hit, 400)) == (7, 3, False, 0.0)


def test_a_hit_of_an_answer_that_nobody_counted_is_a_hit_all_the_same() -> None:
    hit = read(Usage(from_cache=True), 40)
    assert counts(hit) == (ASKED, 10, True, 0.0)
    assert hit is not None
    assert hit.from_cache
    bill = Bill()
    bill.add(HERE, hit)
    assert [spent.hits for spent in Spending.model_validate_json(bill.note()).models] == [1]


def test_a_bill_goes_from_worker_to_worker() -> None:
    bill = Bill.restored(b"", "acme")
    assert (bill.note(), bill.usage) == (b"", None)
    bill.add(HERE, Usage(input_tokens=1, output_tokens=2, cost=0.5))
    bill.add(HERE, Usage(input_tokens=1, output_tokens=2, cost=0.0, from_cache=True))
    bill.said = 9
    later = Bill.restored(bill.note(), "acme")
    later.add(THERE, Usage(input_tokens=10, output_tokens=20, cost=0.25, estimated=True))
    assert later.said == 9
    assert counts(later.usage) == (12, 24, True, 0.75)
    noted = Spending.model_validate_json(later.note())
    assert (noted.tenant, [spent.model for spent in noted.models]) == ("acme", ["p/m", "q/n"])
    assert [(spent.requests, spent.hits) for spent in noted.models] == [(1, 1), (1, 0)]
    assert [spent.usage.total_tokens for spent in noted.models] == [3, 30]  # without the hit's


@pytest.mark.parametrize("note", [b"{", b'{"models":1}', b'{"newer":true}'])
def test_a_note_of_another_version_is_none(note: bytes) -> None:
    assert Bill.restored(note, None).note() == b""
