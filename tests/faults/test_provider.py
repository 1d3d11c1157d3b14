"""Providers that refuse, dawdle, fall silent, lie, or never stop, over HTTP."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from palaver.shared.jobs import Status
from tests.faults.stand import Stand, until
from tests.servers import free_port

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

WORDS = 20


@pytest.fixture
def stand(stand: Stand) -> Stand:
    """Without breakers: each of many jobs is to meet its own failure."""
    text = stand.config.read_text().replace('kind = "openai"', 'kind = "openai"\nbreaker = false')
    stand.config.write_text(text)
    return stand


AT_ONCE = {"total": None, "connect": 5, "read": 3}


class Fault(NamedTuple):
    """What the provider does once, what the job says of it, and where its second stream begins."""

    fail: dict[str, Any]
    error: str
    begun: bool = False  # after five words
    job: Mapping[str, Any] = MappingProxyType({})
    pause: float = 0.0  # seconds that the next request waits at least; dates have no fractions of one

    @property
    def closes(self) -> bool:
        """Whether it closes the gate of its profile, so that other jobs wait too, parked most likely."""
        return self.error == "RateLimitError"

    @property
    def models(self) -> tuple[str, str]:
        """Of two profiles; those that are closed serve nothing else."""
        return ("prompt/m", "auto/m") if self.closes else ("prefix/m", "restart/m")


PASSING = {
    "500 then fine": Fault({"status": 500}, "ServerError"),
    "503 then fine": Fault({"status": 503}, "ServerError"),
    "429 with Retry-After": Fault({"status": 429, "retry_after": 1}, "RateLimitError", pause=1.0),
    "429 with a date": Fault(
        {"status": 429, "retry_date": 4}, "RateLimitError", pause=0.9
    ),  # of whole seconds
    "429 without": Fault({"status": 429}, "RateLimitError"),
    "cut in a chunk": Fault({"kind": "cut", "after": 5}, "StreamInterruptedError", begun=True),
    "reset": Fault({"kind": "reset", "after": 5}, "StreamInterruptedError", begun=True),
    "a clean end too early": Fault({"kind": "eof", "after": 5}, "StreamInterruptedError", begun=True),
    "200 with an error": Fault({"kind": "error", "after": 0}, "ServerError"),
    "an error mid-stream": Fault({"kind": "error", "after": 5}, "ServerError", begun=True),
    "idle mid-stream": Fault(
        {"kind": "idle", "after": 5}, "TimeoutError", begun=True, job={"timeouts": AT_ONCE}
    ),
}


@pytest.mark.any_broker
def test_what_passes_costs_a_retry_and_no_word(stand: Stand) -> None:
    stand.workers(1)
    jobs = {}
    for name, fault in PASSING.items():
        for model in fault.models:
            script = {"fail": {**fault.fail, "times": 1}, "key": f"{name} {model}"}
            (jobs[name, model],) = stand.submit(
                1, words=WORDS, rate=50, model=model, script=script, **fault.job
            )
    books = stand.settle(list(jobs.values()))
    for (name, model), job in jobs.items():
        fault = PASSING[name]
        (retry,) = books.of(job, "retry")
        assert retry["data"]["error"]["type"] == fault.error, f"{name}: {retry['data']}"
        first, *later = books.of(job, "stream_start")
        if fault.begun:
            went_on = len("".join(f" w{n}" for n in range(5))) if model == "prefix/m" else 0
            assert [start["data"]["offset"] for start in later] == [went_on], name
        assert first["data"]["offset"] == 0, name
        assert fault.closes or books.attempts(job) == [1], name
        starts = [event["time"] for event in books.of(job, "text_chunk") if event["seq"] > retry["seq"]]
        assert starts[0] - retry["time"] >= fault.pause, name


FOR_GOOD = {
    "400": ({"status": 400}, "ValidationError", 0),
    "401": ({"status": 401}, "AuthenticationError", 0),
    "500": ({"status": 500}, "ServerError", 2),
    "429": ({"status": 429}, "RateLimitError", 2),
    "garbage": ({"kind": "garbage"}, "MalformedStreamError", 0),
    "garbage mid-stream": ({"kind": "garbage", "after": 5}, "MalformedStreamError", 0),
    "cut": ({"kind": "cut", "after": 3}, "StreamInterruptedError", 2),
}


@pytest.mark.long
def test_what_does_not_pass_ends_the_job_with_its_name(stand: Stand) -> None:
    closed = f'\n[providers.closed]\nkind = "openai"\nbase_url = "http://127.0.0.1:{free_port()}/v1"\n'
    stand.configure(closed)
    stand.workers(1)
    expected = {}
    for fail, error, retries in FOR_GOOD.values():
        (job,) = stand.submit(1, words=WORDS, script={"fail": fail})
        expected[job] = (error, retries)
    (refused,) = stand.submit(1, model="closed/m")
    (slow,) = stand.submit(1, script={"start": 5}, timeouts=AT_ONCE, max_retries=1)
    expected |= {refused: ("ConnectionError", 2), slow: ("TimeoutError", 1)}
    (elsewhere,) = stand.submit(1, words=WORDS, model=["closed/m", "prefix/m"])
    (understood,) = stand.submit(
        1, words=WORDS, model=["prefix/m", "restart/m"], script={"fail": {"kind": "garbage", "times": 1}}
    )
    (patient,) = stand.submit(1, words=WORDS, script={"start": 2})
    books = stand.settle(list(expected), status=Status.FAILED)
    for job, (error, retries) in expected.items():
        end = books.events[job.id][-1]["data"]
        assert end["error"]["type"] == error, end
        assert len(books.of(job, "retry")) == retries, end
    stand.settle([elsewhere, understood, patient])


@pytest.mark.long
def test_an_endless_stream_ends_at_the_deadline(stand: Stand) -> None:
    stand.workers(1)
    (slow,) = stand.submit(1, words=100_000, rate=50, deadline=3)
    (flood,) = stand.submit(1, words=3_000_000, deadline=3)
    books = stand.settle([slow, flood], status=Status.EXPIRED)
    for job in (slow, flood):
        events = books.events[job.id]
        assert events[-1]["time"] - events[0]["time"] > 2.5
        assert job.text.startswith(events[-1]["data"]["text"])
    until(lambda: stand.provider.stats()["open"] == 0, "requests to the provider are left open")
