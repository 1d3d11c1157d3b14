"""Writes a corpus: what this version stores of some jobs, sessions and a batch, and what it says of them.

    python -m tests.upgrades.record tests/upgrades/corpus/v0.1.0.json

To be run for a release, once: it is part of its commit. Versions after it read what stands there
(`test_corpus.py`).
"""

import json
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from palaver.producer import Client, JobHandle
from palaver.shared.contract import VERSION
from palaver.shared.errors import PalaverError
from palaver.workers.testing import LocalSystem
from tests.processes import Processes
from tests.servers import RedisServer, any_redis_binary, start_redis
from tests.upgrades.keys import dumped

NAMESPACE: Final = "corpus"
WORKERS: Final = f"{NAMESPACE}:workers"
"""Who lived then is nothing that is kept."""
MODEL: Final = "scripted/echo"
TALK: Final = ("What is tea?", "And coffee?")
OWNED: Final[dict[str, Any]] = {
    "messages": "雨の日も。",
    "model": MODEL,
    "tenant": "acme",
    "user": "u1",
    "metadata": {"page": "7"},
    "idempotency_key": "once",
}
HOOK: Final = "http://192.0.2.7/hook"
"""Nobody is told there while this is recorded."""


def main(words: list[str]) -> int:
    """Record into the file."""
    binary = any_redis_binary()
    if len(words) != 1 or binary is None:
        print(__doc__ if binary else "no Redis server on this machine", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = start_redis(stack.enter_context(Processes(folder)), binary)
        Path(words[0]).write_text(json.dumps(recorded(server, folder / "files"), indent=1) + "\n")
    return 0


def recorded(server: RedisServer, folder: Path) -> dict[str, Any]:
    """Do the jobs; all keys and files that are there then, and what a client says of them."""
    settings = {"redis_url": server.url, "namespace": NAMESPACE, "files_url": folder.as_uri()}
    settings["webhook_networks"] = "192.0.2.0/24"
    with LocalSystem(**settings) as system, Client(system.settings) as client, server.client() as raw:
        jobs = {name: said(job) for name, job in done(client, system).items()}
        batch = client.batch(["one", "two"], model=MODEL)
        batch.wait(timeout=30)
        return {
            "contract": VERSION,
            "jobs": jobs,
            "batch": {"id": batch.batch_id, "results": [line.response.content for line in batch.results()]},
            "keys": {key: value for key, value in dumped(raw, NAMESPACE).items() if key != WORKERS},
            "files": {
                str(path.relative_to(folder)): path.read_text(encoding="utf-8")
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            },
        }


def done(client: Client, system: LocalSystem) -> dict[str, JobHandle]:
    """Jobs of each kind of end, by their names here."""
    system.models.reply("Leaves in hot water.")
    system.models.reply("Beans.", reasoning="They are roasted.")
    jobs = {}
    for n, text in enumerate(TALK):
        jobs[f"talk {n}"] = ended(client.submit(text, model=MODEL, session_id="talk"))
    jobs["owned"] = ended(client.submit(**OWNED))
    jobs["told"] = ended(
        client.submit("Ring", model=MODEL, tenant="acme", metadata={"page": "8"}, webhook=HOOK)
    )
    system.models.reply(fail={"status": 401})
    jobs["failed"] = ended(client.submit("Hello", model=MODEL))
    system.models.reply(endless=True, rate=200)
    endless = client.submit("Go on", model=MODEL)
    next(iter(endless))
    endless.cancel()
    jobs["cancelled"] = ended(endless)
    return jobs


def ended(job: JobHandle) -> JobHandle:
    """The job, once it is over."""
    with suppress(PalaverError):
        job.result(timeout=30)
    return job


def said(job: JobHandle) -> dict[str, Any]:
    """What a client is told of a job that is over."""
    try:
        content, error = job.result(timeout=30).content, None
    except PalaverError as problem:
        content, error = None, problem.code
    return {
        "id": job.job_id,
        "session": job.session_id,
        "status": str(job.status),
        "content": content,
        "error": error,
        "kinds": [event.type for event in job.events(after=0)],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
