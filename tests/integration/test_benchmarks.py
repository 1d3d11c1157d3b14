"""The harness of `make bench` works; what it finds decides no test."""

import pytest

from tests.benchmarks import plan, report
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.results import Results
from tests.benchmarks.stage import Load
from tests.benchmarks.streams import unpaced
from tests.servers import any_redis_binary, missing


@pytest.mark.redis
@pytest.mark.worker
@pytest.mark.parametrize("name", ["palaver", "floor"])
def test_a_contender_carries_every_stream_to_its_end(name: str) -> None:
    if any_redis_binary() is None:
        missing("no Redis server")
    figures = unpaced(CONTENDERS[name], Load(streams=3, chunks=40))
    assert figures["chunks_a_second"] > 0


def test_the_page_has_what_was_measured_and_says_what_is_missed() -> None:
    results = Results()
    for palaver, floor in ((30.0, 20.0), (36.0, 20.0), (50.0, 25.0)):
        results.add(plan.STEADY_10, "palaver", {"cpu_us": palaver})
        results.add(plan.STEADY_10, "floor", {"cpu_us": floor})
    page = report.page(results)
    assert f"| CPU of the worker per chunk, {plan.STEADY_10} | ≤ 32 µs | 36 µs (30-50) | **no** |" in page
    assert "| … times the floor's 20 µs | ≤ 1.60 | 1.80 | **no** |" in page
    assert "submit" not in page.partition("## Side by side")[0].partition("## Targets")[2]
