"""Flower's configuration: ids, model and status on every page and in its API, and a login unless it is
local.

Flower executes this file (`--conf=`), or one that begins with `from palaver.workers.flowerconfig import *`.
Our workers send no content. But a Celery client with `task_send_sent_event` announces what it sends, and
the arguments of `palaver.submit` are a whole document; so the events are masked before Flower keeps them,
which covers its pages, its search and its API alike.

Login: `FLOWER_BASIC_AUTH=user:password` or `--basic-auth`. Without one, and listening for more than this
machine, Flower gets a password of its own, shown once at its start. `FLOWER_UNAUTHENTICATED_API=true` says
that something else guards it.
"""

import os
import secrets
import sys
from typing import Any, Final

from flower.events import EventsState  # type: ignore[import-untyped]
from tornado.options import options

from palaver.workers.flower_pages import install

__all__ = ["basic_auth", "format_task", "natural_time"]

HIDDEN: Final = "(...)"
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
OURS: Final = "palaver."


class _Masked:
    """`EventsState.event` for events from which content has been taken out."""

    def __init__(self, keep: Any) -> None:
        self.keep = keep

    def __get__(self, state: Any, _: Any = None) -> Any:
        return lambda event: self.keep(state, masked(event))


def masked(event: dict[str, Any]) -> dict[str, Any]:
    """The event without the arguments of a message of ours; its worker will show the ids in them, if it
    gets it.
    """
    if event.get("type") == "task-sent" and str(event.get("name")).startswith(OURS):
        return {**event, "args": HIDDEN, "kwargs": "{}"}
    return event


def format_task(task: Any) -> Any:
    """What the pages show of a task."""
    if task.name == "palaver.submit":
        task.args, task.kwargs = HIDDEN, "{}"
    return task


def _login() -> list[str]:
    given = [entry for entry in options.basic_auth or () if entry]
    unguarded = os.environ.get("FLOWER_UNAUTHENTICATED_API", "").lower() in ("1", "true", "yes", "on")
    if given or options.auth or unguarded or options.unix_socket or options.address in LOOPBACK:
        return given
    password = secrets.token_urlsafe(18)
    told = f"flower: log in as palaver with the password {password} (or set FLOWER_BASIC_AUTH)\n"
    sys.stderr.write(told)
    return [f"palaver:{password}"]


if not isinstance(vars(EventsState)["event"], _Masked):
    EventsState.event = _Masked(EventsState.event)

install()

natural_time = True
basic_auth = _login()
