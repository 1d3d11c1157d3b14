"""The tables of RESULTS.md: every target with what was measured, and all contenders side by side."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from tests.benchmarks import plan, tables
from tests.benchmarks.results import Results, differences
from tests.benchmarks.tables import Target, number, of_rounds

PALAVER, FLOOR = "palaver", "floor"


def targets(results: Results) -> Iterator[Target]:
    """The lines whose figures were measured."""
    return tables.measured(_targets(results))


def _targets(results: Results) -> Iterator[Target]:
    def single(
        what: str, bound: float, scenario: str, figure: str, unit: str, *, least: bool = False
    ) -> Target:
        return of_rounds(what, bound, results.values(scenario, PALAVER, figure), unit, least=least)

    for steady in (plan.STEADY_10, plan.STEADY_20, plan.SIDE_BY_SIDE):
        floor = results.median(steady, FLOOR, "cpu_us") or 0.0
        yield single(f"CPU of the worker per chunk, {steady}", floor * 1.6, steady, "cpu_us", "µs")
        ratio = results.ratio("cpu_us", (steady, PALAVER), (steady, FLOOR))
        yield Target(f"… times the floor's {number(floor)} µs", 1.6, ratio)
        for load in dict.fromkeys((plan.SIDE_BY_SIDE, steady)):
            yield from _beside(results, steady, load)
    rate = "chunks_a_second"
    yield single("chunks a second, 100 streams, unpaced", 80_000, plan.UNPACED, rate, "/s", least=True)
    best = max(plan.RIVALS, key=lambda rival: results.median(plan.UNPACED, rival, rate) or 0)
    ratio = results.ratio(rate, (plan.UNPACED, PALAVER), (plan.UNPACED, best))
    yield Target(f"… times those of the best rival ({best})", 8, ratio, least=True)
    yield single("added latency, p50", 2, plan.LATENCY, "p50_ms", "ms")
    yield single("added latency, p99", 15, plan.LATENCY, "p99_ms", "ms")
    yield single("`submit` to the provider being asked, idle, p50", 4, plan.FIRST, "asked_p50_ms", "ms")
    yield single("… to the first chunk at a reader, p50", 6, plan.FIRST, "read_p50_ms", "ms")
    yield single("short jobs a second, one worker", 1000, plan.SHORT, "jobs_a_second", "/s", least=True)
    yield single("`submit`, one by one", 2500, plan.SUBMIT, "one_a_second", "/s", least=True)
    yield single("`submit_many`", 10_000, plan.SUBMIT, "many_a_second", "/s", least=True)
    both = (results.by_round(scenario, PALAVER, "streams_kb") for scenario in (plan.MANY, plan.FEW))
    more = differences(*both)
    each = median(more.values()) / (plan.MANY_STREAMS - plan.FEW_STREAMS) if more else None
    yield Target("memory of each stream beyond 200, up to 2,000", 40, each, unit="KB")
    told = "memory of 1,000 streams, by their number, with what the first job loads"
    yield single(told, 40, plan.STEADY_10, "memory_kb", "KB")
    yield single("reader, 1,000 sessions", 50_000, plan.READER, "events_a_second", "/s", least=True)
    growth = results.ratio("cpu_us", (plan.MANY, PALAVER), (plan.FEW, PALAVER))
    yield Target("CPU per chunk at 2,000 streams, times that at 200", 1.2, growth)
    yield single(
        "a job behind 10,000 in its session, without history, times the first's CPU",
        1.1,
        plan.SESSION,
        "ratio",
        "",
    )
    told = "… with the history that it is given at most, times that of a session no longer than this"
    yield single(told, 1.1, plan.SESSION, "history_ratio", "")
    yield single(
        "lines of a batch a second, two workers", 1000, plan.BATCH, "lines_a_second", "/s", least=True
    )
    yield single("… its last tenth, times the first", 0.9, plan.BATCH, "last_tenth_to_first", "", least=True)
    yield single("… memory of the larger worker", 300, plan.BATCH, "worker_mb", "MB")
    yield single("… the ledger at its end, per line", 10, plan.BATCH, "ledger_bytes_a_line", "B")
    yield single("… first chunk of a chat in its middle", 1000, plan.BATCH, "chat_ms", "ms")
    yield single("`from palaver.producer import Client`", 150, plan.IMPORT, "wall_ms", "ms")
    yield single("heavy modules that it loads", 0, plan.IMPORT, "heavy", "")


def _beside(results: Results, steady: str, load: str) -> Iterator[Target]:
    """The CPU of a chunk as a part of that of the rivals at a load, where they have carried it."""
    for rival in plan.EQUALS:
        theirs = (load, rival)
        part = results.ratio("cpu_us", (steady, PALAVER), theirs)
        told = f"… times {rival}'s {number(results.median(*theirs, 'cpu_us'))} µs at {load}"
        runs = len(results.values(*theirs, "cpu_us"))
        yield Target(told, 0.2, part, spread=" (one run)" if runs == 1 else "")


def side_by_side(results: Results) -> str:
    """All contenders in the scenarios that they share."""
    columns = (
        ("CPU a chunk, 200 x 20/s", plan.SIDE_BY_SIDE, "cpu_us", "µs"),
        ("of Redis", plan.SIDE_BY_SIDE, "redis_cpu_us", "µs"),
        ("at 1,000 x 10/s", plan.STEADY_10, "cpu_us", "µs"),
        ("memory a stream, 200 x 20/s", plan.SIDE_BY_SIDE, "memory_kb", "KB"),
        ("at 1,000 x 10/s", plan.STEADY_10, "memory_kb", "KB"),
        ("chunks, unpaced", plan.UNPACED, "chunks_a_second", "/s"),
        ("events published of 1,000 chunks then", plan.UNPACED, "events_of_1000", ""),
        ("latency p50", plan.LATENCY, "p50_ms", "ms"),
        ("p99", plan.LATENCY, "p99_ms", "ms"),
        ("short jobs", plan.SHORT, "jobs_a_second", "/s"),
        ("CPU a job", plan.SHORT, "cpu_ms", "ms"),
    )
    return tables.side_by_side(results, (*plan.ALL, plan.NO_OP), columns)


def page(results: Results) -> str:
    """RESULTS.md as far as it is measured."""
    rounds, profiles = len(results.idle), "\n\n".join(results.profiles)
    return f"""# Results of `make bench`

Written by the command; medians of {rounds} alternating rounds, in brackets the smallest and the largest,
ratios of runs of the same round; what was run once says so. Worker, Redis, provider and readers are
processes of their own and share the machine. The figures of every run are in `results.json`, of which
`--report` makes this page again.

{tables.surroundings(results)}

## Targets

{tables.all_targets(targets(results))}

## Side by side

The same job for everybody: streams of the same provider, every delta of them published to Redis. The rivals
are the usual hand-written worker (httpx lines, one awaited `PUBLISH` a chunk): nothing of theirs is kept for
a reader that comes later, numbered, fenced, or taken over by another worker. The floor is the bare loop that
does Palaver's append and nothing else.

Not alike: Palaver and the floor merge what a stream has to say while an append is on its way, which is what
makes them fast unpaced: all of the text is published, in fewer events. And Redis does more for them, because
it keeps what it publishes. Events are all that was published meanwhile, beginnings and ends of streams and
those of Celery too. What was not measured is left empty.

![plot](results.png)

{side_by_side(results)}

## Where the worker's time goes

By py-spy, at the end of the run.

{profiles}

## All figures

{tables.everything(results)}

"""
