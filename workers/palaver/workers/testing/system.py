"""Redis imitated, a worker on a loop of its own, and messages that go straight from one to the other."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from functools import cache
from typing import Any, Final, Self

from palaver.shared.errors import ConfigurationError, WaitTimeoutError
from palaver.shared.ids import new_token
from palaver.shared.in_process import SCHEME, receiving
from palaver.shared.ledger import Dispatch
from palaver.shared.names import QUEUES, TASK_BATCH, TASK_CHAT, TASK_PROBE
from palaver.shared.profiles import SCRIPTED, Catalog, Profile
from palaver.shared.settings import Settings
from palaver.workers.loop import LoopThread
from palaver.workers.providers.registry import KINDS
from palaver.workers.service import WorkerService
from palaver.workers.testing.models import Models

__all__ = ["LocalSystem"]

LOOK_SECONDS: Final = 0.01

PATIENCE: Final = 30.0
"""Seconds. The Redis is a thread of this process: it is as late as the process, or its machine, is busy."""

ALONE: Final[dict[str, Any]] = {
    "archive_url": "", "files_url": "", "mcp": {}, "pusher": {}, "sinks": "", "tika_url": "",
}  # fmt: skip
"""What a test must not reach because somebody has configured it: only what the test itself names."""


class LocalSystem:
    """A system for tests: `with LocalSystem() as system:` jobs run in this process, in a thread of their own.

    Programs reach it by `system.settings` (`Client(system.settings)`), or by `system.environment`. The
    ledger's scripts are the real ones, over fakeredis; the worker is the real one without Celery. Profiles
    are those of `palaver.toml`, or one for each kind without such a file, and `system.models` answers for all
    of them. Every system has a namespace of its own, so that nothing is left for the next one.

    `values` are settings, such as `tools="shop.tools"`. Raises ConfigurationError for wrong ones.
    """

    def __init__(self, **values: Any) -> None:
        self.models = Models()
        own: dict[str, Any] = {"redis_url": _redis_url(), "connect_seconds": PATIENCE, "secret": new_token()}
        own |= {"broker_url": f"{SCHEME}://{new_token()}", "namespace": f"test-{new_token()[:12]}"}
        self.settings = Settings.load(**{**ALONE, **own, **values})
        self._catalog = _without_keys(Catalog.load(self.settings))
        self._stack = ExitStack()
        self._loop: LoopThread | None = None
        self._worker: _Worker | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which programs of this process find the system."""
        settings = self.settings
        return {
            "PALAVER_ARCHIVE_URL": settings.archive_url,
            "PALAVER_BROKER_URL": settings.broker_url,
            "PALAVER_CONNECT_SECONDS": str(settings.connect_seconds),
            "PALAVER_FILES_URL": settings.files_url,
            "PALAVER_NAMESPACE": settings.namespace,
            "PALAVER_REDIS_URL": settings.redis_url,
            "PALAVER_SECRET": settings.secret.get_secret_value() if settings.secret else "",
        }

    def join(self, timeout: float = 10.0) -> None:
        """Wait until no job is left. Raises WaitTimeoutError after `timeout` seconds."""
        loop, worker = self._running()
        try:
            loop.run(worker.empty(), timeout)
        except TimeoutError:
            raise WaitTimeoutError(f"jobs are left after {timeout:g} seconds") from None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            loop = LoopThread(on_lost=lambda: None, name="palaver-test")
            loop.start()
            stack.callback(loop.stop)
            # Of palaver.toml it has the profiles, and knows nothing else.
            settings = self.settings.model_copy(update={"config": os.devnull})
            worker = loop.run(_Worker.started(settings, self._catalog, self.models))
            stack.callback(lambda: loop.run(worker.stop()))

            def take(task: str, args: Sequence[Any]) -> None:
                loop.call(worker.take, task, args)

            stack.enter_context(receiving(self.settings.broker_url, take))
            self._loop, self._worker = loop, worker
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()
        self._loop = self._worker = None

    def _running(self) -> tuple[LoopThread, _Worker]:
        if self._loop is None or self._worker is None:
            raise ConfigurationError("the system does not run: use it in a with statement")
        return self._loop, self._worker


class _Worker:
    """The service, and the part that Celery plays elsewhere; lives on one loop."""

    def __init__(self, service: WorkerService) -> None:
        self._service = service
        self._tasks: set[asyncio.Task[object]] = set()
        self._stopped = False

    @classmethod
    async def started(cls, settings: Settings, catalog: Catalog, models: Models) -> Self:
        """A worker that runs and is announced."""
        service = WorkerService(settings, catalog, name="palaver@test", make=models.make)
        await service.start(announce=False)
        worker = cls(service)
        try:
            await service.serve(worker)
        except BaseException:
            await worker.stop()
            raise
        return worker

    def take(self, task: str, args: Sequence[Any]) -> None:
        """Do what a message asks for."""
        if task == TASK_CHAT:
            self._begin(self._run(*args))
        elif task == TASK_BATCH:
            self._begin(self._service.drive(*args))
        elif task == TASK_PROBE:
            self._begin(self._service.probe(*args))

    def put(self, dispatches: Sequence[Dispatch]) -> None:
        """See `Post.put`."""
        for dispatch in dispatches:
            self.take(dispatch.task, dispatch.args)

    async def empty_queues(self) -> Collection[str]:
        """All of them, always."""
        return [str(queue) for queue in QUEUES]

    async def empty(self) -> None:
        """Return when the ledger has no job that has not ended."""
        while await self._service.ledger.unended() or self._service.running:  # noqa: ASYNC110 - it may be anybody's
            await asyncio.sleep(LOOK_SECONDS)

    async def stop(self) -> None:
        """End what still runs, and the service."""
        self._stopped = True
        await self._service.drain(0)
        await self._service.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, session_id: str, job_id: str) -> None:
        outcome = await self._service.run(session_id, job_id)
        if outcome.dispatch is not None and not self._stopped:
            self.put([outcome.dispatch])

    def _begin(self, work: Any) -> None:
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@cache
def _redis_url() -> str:
    """One server for the whole process, on a free port; it ends with the process."""
    try:
        from palaver.shared.fakeserver import serving
    except ModuleNotFoundError as missing:
        problem = f"tests need the package {missing.name}: pip install 'palaver[testing]'"
        raise ConfigurationError(problem) from None
    server = serving(0)
    threading.Thread(target=server.serve_forever, name="palaver-test-redis", daemon=True).start()
    return f"redis://127.0.0.1:{server.server_address[1]}/0"


def _without_keys(catalog: Catalog) -> Catalog:
    """The profiles, served without their keys; if there are none, one for each built-in kind."""
    profiles = dict(catalog.profiles)
    if list(profiles) == [SCRIPTED]:
        profiles = {kind: Profile(name=kind, kind=kind) for kind in KINDS} | profiles
    no_keys = {"api_key": None, "api_key_env": None, "api_key_file": None}
    served = {name: profile.model_copy(update=no_keys) for name, profile in profiles.items()}
    aliases = {"default": [f"{SCRIPTED}/echo"]} if SCRIPTED in served else {}
    return catalog.model_copy(update={"profiles": served, "aliases": {**aliases, **catalog.aliases}})
