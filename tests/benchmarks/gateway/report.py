"""GATEWAY.md: every target with what was measured, and all servers side by side."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks import tables
from tests.benchmarks.gateway import plan
from tests.benchmarks.gateway.servers import SERVERS
from tests.benchmarks.results import Results, differences, ratios
from tests.benchmarks.tables import Target, number, of_rounds

Place = tuple[str, str]  # a scenario and a contender

PROVIDER: Place = (plan.ANSWERS, "provider")
PALAVER: Place = (plan.ANSWERS, "palaver")
LITELLM: Place = (plan.ANSWERS, "litellm")


def targets(results: Results) -> Iterator[Target]:
    """The lines whose figures were measured."""
    return tables.measured(_targets(results))


def _targets(results: Results) -> Iterator[Target]:
    idle, alone = "idle_p50_ms", results.by_round(*PROVIDER, "idle_p50_ms")
    ours = differences(results.by_round(*PALAVER, idle), alone)
    theirs = differences(results.by_round(*LITELLM, idle), alone)
    yield of_rounds("first word, added to the provider's, idle, p50", 6, [*ours.values()], "ms")
    yield of_rounds("… times what LiteLLM adds", 0.6, [*ratios(ours, theirs).values()])
    yield of_rounds("first word, added, 100 paced streams live, p99", 40, _late(results), "ms")
    for what, bound, figure, least in (
        ("chunks a second of 20 unpaced streams, times LiteLLM's", 5, "chunks_a_second", True),
        ("memory of the process then, times LiteLLM's", 0.5, "memory_mb", False),
    ):
        times = ratios(results.by_round(*PALAVER, figure), results.by_round(*LITELLM, figure))
        yield of_rounds(what, bound, [*times.values()], least=least)
    busy, silent = (plan.BUSY, "palaver"), (plan.SILENT, "palaver")
    told = f"{number(results.median(*busy, 'readers'))} {plan.BUSY}, late by, p99"
    yield of_rounds(told, 150, results.values(*busy, "p99_ms"), "ms")
    told = "… CPU of the gateway for each event and reader"
    yield of_rounds(told, 35, results.values(*busy, "cpu_us"), "µs")
    told = f"{number(results.median(*silent, 'readers'))} {plan.SILENT}, memory"
    yield of_rounds(told, 400, results.values(*silent, "memory_mb"), "MB")


def _late(results: Results) -> list[float]:
    """By how much the worst of a hundred was later than most are without a gateway, in each round."""
    late = results.by_round(plan.LIVE, "palaver", "p99_ms")
    usual = results.by_round(plan.LIVE, "provider", "p50_ms")
    return [*differences(late, usual).values()]


def side_by_side(results: Results) -> str:
    """The provider alone, and the gateways before it."""
    columns = (
        ("first word, idle, p50", plan.ANSWERS, "idle_p50_ms", "ms"),
        ("p99", plan.ANSWERS, "idle_p99_ms", "ms"),
        ("20 unpaced streams", plan.ANSWERS, "chunks_a_second", "chunks/s"),
        ("answers", plan.ANSWERS, "answers_a_second", "/s"),
        ("their first word, p50", plan.ANSWERS, "first_p50_ms", "ms"),
        ("CPU of the process a chunk", plan.ANSWERS, "cpu_us", "µs"),
        ("memory of the process", plan.ANSWERS, "memory_mb", "MB"),
        ("with worker and Redis", plan.ANSWERS, "all_memory_mb", "MB"),
        ("first word, 100 streams live, p50", plan.LIVE, "p50_ms", "ms"),
        ("p99", plan.LIVE, "p99_ms", "ms"),
    )
    return tables.side_by_side(results, SERVERS, columns)


def page(results: Results) -> str:
    """GATEWAY.md as far as it is measured."""
    return f"""# Results of `make bench-gateway`

Written by the command; medians of {len(results.idle)} alternating rounds, in brackets the smallest and the
largest, differences and ratios of runs of the same round. Gateway, worker, Redis, provider and whoever asks
are processes of their own and share the machine.

{tables.surroundings(results)}

## Targets

{tables.all_targets(targets(results))}

## Side by side

The same provider and the same questions for everybody, through OpenAI's API. An answer of Palaver's is a job:
taken over by another worker if its own dies, and read again from any event on. LiteLLM's proxy passes it on;
it has no database here, no key, no retries, no callback. Each gateway is one process. What Palaver's worker
and Redis take beside it has a column of its own, and the time of the same cores.

{side_by_side(results)}

## All figures

{tables.everything(results)}

"""
