"""The Celery application of a worker, and how any other Celery application becomes one.

`celery -A palaver.workers worker` is all that is needed. An application of your own, whose tasks should run
in the same workers: `install(app)`; its settings win over ours.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from celery import Celery, bootsteps, signals
from celery.exceptions import ImproperlyConfigured, WorkerShutdown
from click import ClickException, UsageError, get_current_context
from kombu import Connection

from palaver.shared.broker_url import BrokerURL
from palaver.shared.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    PalaverError,
    ServiceUnavailableError,
)
from palaver.shared.jobs import MAX_DEADLINE
from palaver.shared.names import (
    DEFAULT_NAMESPACE,
    TASK_BATCH,
    TASK_CHAT,
    TASK_PROBE,
    TASK_SUBMIT,
    Queue,
    queue_name,
)
from palaver.shared.outage import reason
from palaver.shared.settings import Settings, redacted_url, unknown_variables
from palaver.workers import tasks as tasks  # registers them
from palaver.workers.event_log import event_logger, json_formatter
from palaver.workers.pool import AsyncPool
from palaver.workers.pool.consumption import consumption_of
from palaver.workers.pool.lanes import Express
from palaver.workers.pool.post import Post
from palaver.workers.pool.queues import declare, own_queue
from palaver.workers.pool.silence import SILENT_SECONDS, bound
from palaver.workers.service import WorkerService

__all__ = ["app", "check_broker", "install", "run"]

logger = event_logger("palaver.workers.app")

WRONG_USAGE: Final = 2
UNREACHABLE: Final = 3
"""Exit codes, as of the `palaver` command."""

RETRY_SECONDS: Final = 1.0

NODE_SECONDS: Final = 5.0
"""More than a connection of Celery's waits for a node to answer."""

ROUTES: Final = {
    TASK_CHAT: Queue.NORMAL,
    TASK_SUBMIT: Queue.SUBMIT,
    TASK_BATCH: Queue.BATCH,
    TASK_PROBE: Queue.HIGH,
}


def install(celery: Any, settings: Settings | None = None) -> Celery:
    """Make the workers of an application Palaver workers: pool, queues, tasks and the service behind them.

    Every setting is a default and gives way to the application's own. Settings are read when the
    application is first used, from `PALAVER_*` unless given. Returns the application.
    """
    read = _Once(settings)
    celery.add_defaults(lambda: _defaults(read()))
    celery.on_after_finalize.connect(_declare_queues, weak=False)
    for ready in (signals.after_setup_logger, signals.after_setup_task_logger):
        ready.connect(partial(_format_log, read), weak=False)
    celery.palaver_settings = read
    celery.steps["worker"].add(ServiceStep)
    celery.steps["consumer"].add(Express)
    installed: Celery = celery
    return installed


class _Once:
    """The settings, read at most once."""

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings

    def __call__(self) -> Settings:
        if self._settings is None:
            try:
                self._settings = Settings.load()
            except ConfigurationError as error:
                if get_current_context(silent=True) is None:
                    raise
                raise UsageError(str(error)) from None  # the celery command shows this one in a line
            if warning := unknown_variables(os.environ):
                logger.warning(f"settings.unknown {warning}")
        return self._settings


def _format_log(read: _Once, logger: logging.Logger, **_: Any) -> None:
    """Celery has set up a log. Where an application does that by itself, this is not called."""
    if read().log_format == "json":
        for handler in logger.handlers:
            handler.setFormatter(json_formatter())


def _defaults(settings: Settings) -> dict[str, Any]:
    namespace, broker = settings.namespace, BrokerURL.parse(settings.broker_url)
    return {
        "broker_url": broker.url,
        "broker_use_ssl": False if broker.tls is None else dict(broker.tls),
        "broker_transport_options": _transport_options(broker, settings.connect_seconds),
        "broker_connection_retry_on_startup": True,
        # RabbitMQ closes a channel when a message waits too long in a worker that has no slot for it
        "broker_channel_error_retry": True,
        # None is for ever: a worker outlives its broker, however long that is away
        "broker_connection_max_retries": None,
        "accept_content": ["json"],
        "task_routes": {task: {"queue": queue_name(queue, namespace)} for task, queue in ROUTES.items()},
        "worker_pool": "palaver.workers.pool:AsyncPool",
        "worker_consumer": "palaver.workers.pool.intake:Intake",
        "worker_concurrency": settings.concurrency,
        # as many messages as slots: what a worker cannot run yet, another one may
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "palaver_drain_seconds": settings.drain_seconds,
        "palaver_resume_slots": settings.resume_slots,
        "palaver_namespace": namespace,
        **_exchanges(namespace),
    }


def _exchanges(namespace: str) -> dict[str, str]:
    """Through these, workers of one system hear what concerns them, and Flower hears them."""
    if namespace == DEFAULT_NAMESPACE:
        return {}  # Celery's own names, under which everybody asks for workers
    return {"control_exchange": namespace, "event_exchange": f"{namespace}.events"}


def _transport_options(broker: BrokerURL, seconds: float) -> dict[str, Any]:
    """No wait for a host that is gone. Of Redis, queues in strict order, and no second delivery while a job
    may still run.
    """
    if broker.queue_arguments is not None:
        # of a pool: else one that hangs has all the time, and the next one is never tried
        return {"on_open": bound, "connect_retries_timeout": NODE_SECONDS * broker.nodes}
    if broker.redis is None:
        return {}
    return {
        "queue_order_strategy": "priority",
        "visibility_timeout": int(MAX_DEADLINE) + 24 * 3600,
        "socket_timeout": SILENT_SECONDS,
        # kombu looks twice before it gives up on what it waits for
        "health_check_interval": SILENT_SECONDS / 2,
        **broker.transport_options(seconds),
    }


def _declare_queues(sender: Any, **_: Any) -> None:
    declare(sender)


def check_broker(settings: Settings) -> None:
    """Raises BrokerUnavailableError if the broker does not answer in time. Some transports keep to no
    timeout while they connect, so this happens in a thread.
    """
    answer: Future[None] = Future()
    broker = BrokerURL.parse(settings.broker_url)
    seconds = broker.node_seconds(settings.connect_seconds)
    tls: Any = False if broker.tls is None else dict(broker.tls)

    def connect() -> None:
        try:
            with Connection(
                broker.url,
                ssl=tls,
                connect_timeout=seconds,
                transport_options=broker.transport_options(seconds),
            ) as connection:
                connection.ensure_connection(max_retries=broker.nodes - 1)
            answer.set_result(None)
        except Exception as error:  # noqa: BLE001 - every transport has errors of its own
            answer.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        answer.result(seconds * broker.nodes)
    except Exception as error:  # noqa: BLE001 - the same ones, and the timeout
        url = redacted_url(settings.broker_url)
        raise BrokerUnavailableError(f"The broker at {url} cannot be reached: {reason(error)}.") from None


def run(options: Sequence[str]) -> int:
    """What `celery -A palaver.workers worker OPTIONS` does, and its exit code."""
    # Without the command above it: that loads all plugins, Flower too, which is a sixth of a start.
    from celery.bin.base import CLIContext
    from celery.bin.worker import worker

    context = CLIContext(app=app, no_color=bool(os.environ.get("NO_COLOR")), workdir=None)
    try:
        main = partial(worker.main, prog_name="palaver worker", standalone_mode=False, obj=context)
        return int(main(args=list(options)) or 0)
    except ClickException as error:
        told = " ".join(error.format_message().split()).rstrip(".")
        hint = "; see celery -A palaver.workers worker --help"
        print(f"palaver worker: {told}{hint}", file=sys.stderr)  # noqa: T201 - a command's answer
        return WRONG_USAGE


class ServiceStep(bootsteps.StartStopStep):
    """Starts the service that runs jobs, on the pool's loop; the pool ends it once it has handed over."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: Any) -> None:
        """Ends the process with a line and an exit code, instead of a traceback, if the service cannot
        start.
        """
        pool = parent.pool
        if not isinstance(pool, AsyncPool):
            raise ImproperlyConfigured("Palaver's tasks need worker_pool = palaver.workers.pool:AsyncPool")
        post = parent.app.palaver_post = Post(parent.app)
        try:
            settings = parent.app.palaver_settings()
            service = WorkerService(settings, name=parent.hostname, slots=pool.slots.count, host=pool)
            pool.add_resident(_Residence(service, post))
        except PalaverError as error:
            logger.critical(str(error))
            pool.stop()
            unreachable = isinstance(error, ServiceUnavailableError)
            raise WorkerShutdown(UNREACHABLE if unreachable else WRONG_USAGE) from None
        pool.on_resize = lambda slots: setattr(service, "slots", slots)
        service.readiness.consumption = consumption_of(parent)
        parent.app.palaver_service = service

    def stop(self, parent: Any) -> None:
        """Nothing: the service goes with the pool."""


class _Residence:
    """The service as the pool sees it."""

    def __init__(self, service: WorkerService, post: Post) -> None:
        self._service = service
        self._post = post

    async def start(self) -> None:
        await self._service.start(announce=False)

    async def serve(self) -> None:
        while True:
            try:
                await self._service.serve(self._post)
                break
            except PalaverError as error:
                logger.warning("worker.not_announced", error=error.type)
            await asyncio.sleep(RETRY_SECONDS)
        self._service.watch(self._post)

    def leaving(self) -> None:
        self._service.begin_drain()

    async def hand_over(self) -> None:
        await self._service.drain(0)

    async def stop(self) -> None:
        await self._service.close()


def _own_app() -> Celery:
    celery: Any = install(
        Celery(
            "palaver",
            set_as_current=False,
            task_acks_late=True,
            task_ignore_result=True,
            task_serializer="json",
        )
    )
    celery.add_defaults(lambda: {"task_default_queue": own_queue(celery, Queue.NORMAL)})
    installed: Celery = celery
    return installed


app = _own_app()
