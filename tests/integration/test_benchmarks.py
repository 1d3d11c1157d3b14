"""The harness of `make bench` works; what it finds decides no test."""

import pytest

from tests.benchmarks import plan, report
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.gateway import plan as gateway_plan
from tests.benchmarks.gateway import report as gateway_report
from tests.benchmarks.gateway.answers import answers
from tests.benchmarks.gateway.servers import provider
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


@pytest.mark.redis
def test_whoever_asks_a_gateway_counts_every_chunk() -> None:
    if any_redis_binary() is None:
        missing("no Redis server")
    figures = answers(provider, probes=3, streams=2, seconds=0.1)
    assert figures["chunks_a_second"] > 0
    assert 0 < figures["idle_p50_ms"] <= figures["idle_p99_ms"]


def test_what_a_gateway_adds_is_told_of_runs_of_the_same_round() -> None:
    results = Results()
    for direct, palaver, litellm in ((1.0, 5.0, 9.0), (2.0, 8.0, 22.0), (1.0, 6.0, 11.0)):
        for name, first in (("provider", direct), ("palaver", palaver), ("litellm", litellm)):
            results.add(gateway_plan.ANSWERS, name, {"idle_p50_ms": first, "memory_mb": 100 * first})
    page = gateway_report.page(results)
    assert "| first word, added to the provider's, idle, p50 | ≤ 6 ms | 5 ms (4-6) | yes |" in page
    assert "| … times what LiteLLM adds | ≤ 0.60 | 0.50 (0.30-0.50) | yes |" in page
    assert "| memory of the process then, times LiteLLM's | ≤ 0.50 | 0.55 (0.36-0.56) | **no** |" in page
    assert "readers" not in page.partition("## Side by side")[0]
    results.add(gateway_plan.BUSY, "palaver", {"readers": 1000, "p99_ms": 151, "cpu_us": 20})
    told = f"| 1,000 {gateway_plan.BUSY}, late by, p99 | ≤ 150 ms | 151 ms | **no** |"
    assert told in gateway_report.page(results)
