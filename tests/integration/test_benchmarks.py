"""The harness of `make bench` works; what it finds decides no test."""

from pathlib import Path

import pytest

from tests.benchmarks import plan, profile, report
from tests.benchmarks.__main__ import FOLDER
from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.gateway import plan as gateway_plan
from tests.benchmarks.gateway import report as gateway_report
from tests.benchmarks.gateway.answers import answers
from tests.benchmarks.gateway.servers import provider
from tests.benchmarks.results import Results, differences, ratios
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
    assert figures["events_of_1000"] > 0


def test_a_run_that_was_left_out_moves_no_other(tmp_path: Path) -> None:
    results = Results()
    for round_, load in enumerate((100.0, 200.0, 100.0, 200.0)):
        if round_ != 1:
            results.add(plan.STEADY_10, "palaver", round_, {"cpu_us": load / 5})
        results.add(plan.STEADY_10, "floor", round_, {"cpu_us": load})
    results.save(tmp_path / "results.json")
    again = Results.read(tmp_path / "results.json")
    both = [again.by_round(plan.STEADY_10, who, "cpu_us") for who in ("palaver", "floor")]
    assert ratios(*both) == {0: 0.2, 2: 0.2, 3: 0.2}
    assert differences(*both) == {0: -80, 2: -80, 3: -160}


def test_the_kept_page_is_that_of_the_kept_figures() -> None:
    """`python -m tests.benchmarks --report` makes it again."""
    kept = Results.read(FOLDER / "results.json")
    assert (FOLDER / "RESULTS.md").read_text("utf-8").startswith(report.page(kept))


@pytest.mark.parametrize(
    ("inner", "part"),
    [
        ("epoll_pwait (libc.so.6)", "poll (epoll, and waking from it)"),
        ("write (libc.so.6)", "send (the system's write)"),
        ("uv__read (stream.c:1050);loop___loop_alloc_buffer (loop.c:68338)", "receive (the system's read)"),
        ("uv__read (stream.c:1050);StreamReader._read_nowait (aiohttp/streams.py:585)", "read"),
        ("Writer.text (workers/publisher.py:90);_int_malloc (libc.so.6)", "encode"),
        ("uv__queue_empty (queue.h:33)", profile.LOOP),
    ],
)
def test_a_sample_of_the_loop_is_named_by_its_innermost_frame(inner: str, part: str) -> None:
    frames = f"LoopThread._run (workers/loop.py:100);uv_run (core.c:464);{inner}".split(";")
    assert profile._part_of(frames, profile.OF_A_CHUNK) == part


def test_the_page_has_what_was_measured_and_says_what_is_missed() -> None:
    results = Results()
    for round_, (palaver, floor) in enumerate(((30.0, 20.0), (36.0, 20.0), (50.0, 25.0))):
        results.add(plan.STEADY_10, "palaver", round_, {"cpu_us": palaver})
        results.add(plan.STEADY_10, "floor", round_, {"cpu_us": floor})
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
    rounds = ((1.0, 5.0, 9.0), (2.0, 8.0, 22.0), (1.0, 6.0, 11.0))
    for round_, (direct, palaver, litellm) in enumerate(rounds):
        for name, first in (("provider", direct), ("palaver", palaver), ("litellm", litellm)):
            results.add(gateway_plan.ANSWERS, name, round_, {"idle_p50_ms": first, "memory_mb": 100 * first})
    page = gateway_report.page(results)
    assert "| first word, added to the provider's, idle, p50 | ≤ 6 ms | 5 ms (4-6) | yes |" in page
    assert "| … times what LiteLLM adds | ≤ 0.60 | 0.50 (0.30-0.50) | yes |" in page
    assert "| memory of the process then, times LiteLLM's | ≤ 0.50 | 0.55 (0.36-0.56) | **no** |" in page
    assert "readers" not in page.partition("## Side by side")[0]
    results.add(gateway_plan.BUSY, "palaver", 0, {"readers": 1000, "p99_ms": 151, "cpu_us": 20})
    told = f"| 1,000 {gateway_plan.BUSY}, late by, p99 | ≤ 150 ms | 151 ms (one run) | **no** |"
    assert told in gateway_report.page(results)
