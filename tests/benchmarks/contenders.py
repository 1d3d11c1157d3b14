"""Whoever does the job of the streams: Palaver's worker, the floor below it, and its rivals.

Each starts one worker process and is given the same load. `ended` says how many jobs are through.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.benchmarks.stage import PATIENCE_SECONDS, Load, Stage, Stuck
from tests.processes import ROOT, Running

RIVALS: Final[Path] = Path(__file__).parent / "rivals"
RIVAL_PYTHON: Final[Path] = ROOT / ".venv" / "rivals" / "bin" / "python"


class Contender:
    """One worker process on a stage."""

    name = ""

    def __init__(self, stage: Stage, load: Load) -> None:
        self.stage = stage
        self.load = load

    def start(self) -> Running:
        """Its worker, ready to take jobs."""
        raise NotImplementedError

    def submit(self) -> None:
        """Give it all jobs of the load."""
        raise NotImplementedError

    def ended(self) -> int:
        """How many jobs have ended."""
        with self.stage.redis.client() as client:
            return int(client.get("bench:ended") or 0)

    def until_ended(self, jobs: float) -> int:
        """Wait until so many have ended; how many they are then. Raises Stuck when no more end."""
        before, since = -1, time.monotonic()
        while (ended := self.ended()) < jobs:
            if ended > before:
                before, since = ended, time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                raise Stuck(f"only {ended} jobs have ended, of {jobs:g}")
            time.sleep(0.01)
        return ended


class Palaver(Contender):
    """`palaver worker`, as anybody starts it."""

    name = "palaver"

    def __init__(self, stage: Stage, load: Load) -> None:
        super().__init__(stage, load)
        config = stage.processes.folder / "palaver.toml"
        profile = f'[providers.bench]\nkind = "openai"\nbase_url = "{stage.provider_url}"\n'
        config.write_text(profile, encoding="utf-8")
        self.settings = Settings(redis_url=stage.redis.url, config=str(config))
        self.environment = {"PALAVER_REDIS_URL": stage.redis.url, "PALAVER_CONFIG": str(config)}

    def start(self) -> Running:
        command = ("palaver", "worker", "--concurrency", str(self.load.room))
        worker = self.stage.processes.start(command, name=self.name, env=self.environment)
        worker.wait_for("ready", seconds=60)
        return worker

    def submit(self) -> None:
        jobs = [
            {"messages": self.load.question, "model": "bench/m", "session_id": f"bench-{number}"}
            for number in range(self.load.streams)
        ]
        with Client(self.settings) as client:
            client.submit_many(jobs)

    def ended(self) -> int:
        with Client(self.settings) as client:
            return self.load.streams - client.ledger.unended()


class Floor(Contender):
    """The bare loop of `floor.py`."""

    name = "floor"

    def start(self) -> Running:
        load = self.load
        words = (load.streams, load.chunks, load.rate, int(load.stamped))
        arguments = (self.stage.redis.url, str(self.stage.provider_port), *map(str, words))
        self.worker = self.stage.processes.python("-m", "tests.benchmarks.floor", *arguments, name=self.name)
        self.worker.wait_for("ready", seconds=60)
        return self.worker

    def submit(self) -> None:
        self.worker.signal(signal.SIGUSR1)


@dataclass(frozen=True)
class Rival:
    """A worker that somebody wrote by hand on a task queue."""

    name: str
    script: str
    command: Callable[[int], tuple[str, ...]]  # of the slots

    def __call__(self, stage: Stage, load: Load) -> Contender:
        return _HandWritten(self, stage, load)


class _HandWritten(Contender):
    def __init__(self, rival: Rival, stage: Stage, load: Load) -> None:
        super().__init__(stage, load)
        self.rival = rival
        self.environment = {
            "BENCH_REDIS": stage.redis.url,
            "BENCH_PROVIDER": f"{stage.provider_url}/chat/completions",
            "BENCH_SLOTS": str(load.room),
        }

    def run(self, *words: str) -> Running:
        name = self.rival.name.replace(" ", "-")
        command: tuple[str | Path, ...] = (RIVAL_PYTHON, *words)
        return self.stage.processes.start(command, name=name, env=self.environment, cwd=RIVALS)

    def start(self) -> Running:
        worker = self.run("-m", *self.rival.command(self.load.room))
        worker.wait_for("ready", seconds=60)
        return worker

    def submit(self) -> None:
        sending = self.run(self.rival.script, str(self.load.streams), self.load.question)
        if sending.wait(120):
            raise SystemExit(f"{self.rival.name} could not enqueue:\n{sending.tail()}")


def _celery(pool: str) -> Callable[[int], tuple[str, ...]]:
    def command(slots: int) -> tuple[str, ...]:
        pooled = ("--pool", pool, "--concurrency", str(slots))
        return ("celery", "-A", "celery_worker", "worker", *pooled)

    return command


TASKIQ = ("taskiq", "worker", "--workers", "1", "--max-async-tasks")

RIVAL_WORKERS: Final = (
    Rival("arq", "arq_worker.py", lambda _: ("arq", "arq_worker.Worker")),
    Rival("taskiq", "taskiq_worker.py", lambda slots: (*TASKIQ, str(slots), "taskiq_worker:broker")),
    Rival("celery threads", "celery_worker.py", _celery("threads")),
    Rival("celery gevent", "celery_worker.py", _celery("gevent")),
)

Enter = Callable[[Stage, Load], Contender]
CONTENDERS: Final[dict[str, Enter]] = {
    "palaver": Palaver,
    "floor": Floor,
    **{rival.name: rival for rival in RIVAL_WORKERS},
}
