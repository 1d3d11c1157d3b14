"""On what, and how quiet, the figures were measured."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.contenders import RIVAL_PYTHON
from tests.benchmarks.stage import TICKS
from tests.servers import any_redis_binary

OURS = (
    "celery",
    "kombu",
    "redis",
    "hiredis",
    "aiohttp",
    "orjson",
    "msgspec",
    "uvloop",
)
THEIRS = ("arq", "taskiq", "taskiq-redis", "celery", "gevent", "httpx", "redis")


def described(
    *, ours: Sequence[str] = OURS, python: Path = RIVAL_PYTHON, theirs: Sequence[str] = THEIRS
) -> dict[str, str]:
    """What belongs beside every figure. `theirs` are installed where that Python is."""
    server = _said(any_redis_binary() or "redis-server", "--version")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": hardware(),
        "python": platform.python_version(),
        "redis": server.partition("v=")[2].partition(" ")[0] or server,
        "ours": ", ".join(f"{name} {version(name)}" for name in ours),
        "rivals": ", ".join(f"{name} {known}" for name, known in _versions(python, theirs).items()),
    }


def hardware() -> str:
    """Its cores, memory and system."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} cores, {cpu}, {memory / 2**20:.0f} GB, {system}"


def idle(seconds: float = 2.0) -> float:
    """The share of the machine's time that nobody used, over the next seconds."""
    before = _times()
    time.sleep(seconds)
    passed = [now - then for now, then in zip(_times(), before, strict=True)]
    return (passed[3] + passed[4]) / max(1, sum(passed))


def used_seconds() -> float:
    """CPU that all processes have used since the machine began, and other machines on the same cores."""
    user, nice, system, *_, stolen = _times()
    return (user + nice + system + stolen) / TICKS


def _versions(python: Path, names: Sequence[str]) -> dict[str, str]:
    program = (
        f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {(*names,)}}}))"
    )
    found: dict[str, str] = json.loads(_said(str(python), "-c", program))
    return found


def _times() -> list[int]:
    """Of all cores: user, nice, system, idle, waiting, interrupts, soft ones, stolen."""
    return [int(word) for word in _lines("/proc/stat")[0].split()[1:9]]


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
