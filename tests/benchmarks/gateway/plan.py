"""What is measured of the gateway, and with what load."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.benchmarks.gateway import answers, readers
from tests.benchmarks.gateway.servers import SERVERS
from tests.benchmarks.rounds import Row

ANSWERS: Final = "answers, idle and 20 unpaced streams at once"
LIVE: Final = "first words, 100 paced streams live"
BUSY: Final = "readers that hear 20 events/s"
SILENT: Final = "readers that hear nothing"

STREAMS: Final = 20  # unpaced, at once
LIVE_STREAMS: Final = 100
READERS: Final = 1000
SESSIONS: Final = 10  # of the readers that hear something
SILENT_READERS: Final = 5000


def rows(*, quick: bool = False) -> list[Row]:
    """Everything in its order: contenders of one scenario follow each other, and rounds repeat the whole."""
    return list(_rows(probes=50, seconds=3, part=10) if quick else _rows(probes=300, seconds=8, part=1))


def _rows(*, probes: int, seconds: float, part: int) -> Iterator[Row]:
    """`part`: of the readers, and of the sessions that they hear, there is one in so many."""
    for name, enter in SERVERS.items():
        yield Row(ANSWERS, name, partial(answers.answers, enter, probes, STREAMS, seconds))
    for name in ("provider", "palaver"):
        yield Row(LIVE, name, partial(answers.first_words, SERVERS[name], probes, LIVE_STREAMS))
    yield Row(BUSY, "palaver", partial(readers.busy, READERS // part, SESSIONS // part, seconds))
    yield Row(SILENT, "palaver", partial(readers.silent, SILENT_READERS // part, seconds), once=True)
