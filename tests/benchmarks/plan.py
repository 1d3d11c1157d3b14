"""What is measured, and with what load: `rows(quick=…)`. A row is one run of one contender."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.benchmarks import batches, clients, jobs, streams
from tests.benchmarks.contenders import CONTENDERS, RIVAL_WORKERS
from tests.benchmarks.rounds import Row
from tests.benchmarks.stage import Load

OURS: Final = ("palaver", "floor")
RIVALS: Final = tuple(rival.name for rival in RIVAL_WORKERS)
ALL: Final = (*OURS, *RIVALS)
EQUALS: Final = ("arq", "taskiq")  # whom the targets name
NO_OP: Final = "no-op on our pool"

STEADY_10 = "1,000 streams x 10/s"
STEADY_20 = "1,000 streams x 20/s"
SIDE_BY_SIDE = "200 streams x 20/s"
FEW_STREAMS, MANY_STREAMS = 200, 2000
FEW, MANY = "200 streams x 10/s", "2,000 streams x 10/s"
UNPACED = "100 streams, unpaced"
LATENCY = "latency, 100 streams x 20/s"
SHORT = "short jobs"
FIRST = "first chunk"
SHORT_JOBS = 3000  # for everybody: who starts cold does so once in as many
SUBMIT = "submit"
READER = "reader, 1,000 sessions"
SESSION = "a long session"
IMPORT = "import"
BATCH = "a batch, two workers"
PROVIDER = "the provider alone, 100 streams, unpaced"


def rows(*, quick: bool = False) -> list[Row]:
    """Everything in its order: contenders of one scenario follow each other, and rounds repeat the whole."""
    return list(_quick() if quick else _full())


def _full() -> Iterator[Row]:
    steady = Load(streams=1000, chunks=600, rate=10)
    yield from _paced(STEADY_10, steady, OURS)
    for name in EQUALS:  # they may take more than a core, and then their end is waited for
        yield Row(STEADY_10, name, partial(streams.paced, CONTENDERS[name], steady), once=True)
    yield from _paced(STEADY_20, Load(streams=1000, chunks=600, rate=20), OURS)
    yield from _paced(SIDE_BY_SIDE, Load(streams=200, chunks=600, rate=20), ALL)
    yield from _paced(FEW, Load(streams=FEW_STREAMS, chunks=600, rate=10), ("palaver",))
    yield from _paced(MANY, Load(streams=MANY_STREAMS, chunks=600, rate=10), ("palaver",))
    yield from _unpaced(ours=10_000, rivals=300)
    yield from _latency(Load(streams=100, chunks=80, rate=20, stamped=True), ALL)
    for name in ("palaver", *RIVALS):
        yield Row(SHORT, name, partial(jobs.short, CONTENDERS[name], SHORT_JOBS))
    yield Row(SHORT, NO_OP, partial(jobs.nothing, SHORT_JOBS))
    yield Row(BATCH, "palaver", partial(batches.batch, 100_000))
    yield from _ours(probes=200, jobs_in_session=10_000, cost_jobs=100, submits=(3000, 20_000), events=200)


def _quick() -> Iterator[Row]:
    yield from _paced(SIDE_BY_SIDE, Load(streams=200, chunks=160, rate=20), (*OURS, "arq"))
    yield from _unpaced(ours=2000, rivals=100, whom=(*OURS, "arq"))
    yield from _latency(Load(streams=100, chunks=100, rate=20, stamped=True), ("palaver",))
    yield Row(SHORT, "palaver", partial(jobs.short, CONTENDERS["palaver"], 600))
    yield Row(SHORT, NO_OP, partial(jobs.nothing, 600))
    yield Row(BATCH, "palaver", partial(batches.batch, 5000))
    yield from _ours(probes=50, jobs_in_session=500, cost_jobs=30, submits=(1000, 4000), events=50)


def _paced(scenario: str, load: Load, whom: tuple[str, ...]) -> Iterator[Row]:
    for name in whom:
        yield Row(scenario, name, partial(streams.paced, CONTENDERS[name], load))


def _latency(load: Load, whom: tuple[str, ...]) -> Iterator[Row]:
    for name in whom:
        yield Row(LATENCY, name, partial(streams.latency, CONTENDERS[name], load))


def _unpaced(*, ours: int, rivals: int, whom: tuple[str, ...] = ALL) -> Iterator[Row]:
    """Rivals get fewer chunks: what is compared is chunks a second, and theirs would take minutes."""
    for name in whom:
        load = Load(streams=100, chunks=ours if name in OURS else rivals)
        yield Row(UNPACED, name, partial(streams.unpaced, CONTENDERS[name], load))
    yield Row(PROVIDER, "drain", partial(streams.capacity, Load(streams=100, chunks=ours)))


def _ours(
    *, probes: int, jobs_in_session: int, cost_jobs: int, submits: tuple[int, int], events: int
) -> Iterator[Row]:
    yield Row(FIRST, "palaver", partial(jobs.first_chunk, probes))
    yield Row(SUBMIT, "palaver", partial(clients.submitting, *submits))
    yield Row(READER, "palaver", partial(clients.reading, 1000, events))
    yield Row(SESSION, "palaver", partial(jobs.session_growth, jobs_in_session, cost_jobs))
    yield Row(IMPORT, "palaver", clients.importing)
