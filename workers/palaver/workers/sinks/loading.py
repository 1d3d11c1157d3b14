"""The sinks of a worker: those that `PALAVER_SINKS` names, and Pusher where it has a key."""

from __future__ import annotations

from typing import Any

from palaver.shared.settings import Settings
from palaver.workers.generation import UserCode
from palaver.workers.imports import class_at
from palaver.workers.sinks.base import Sink
from palaver.workers.sinks.following import Outlet
from palaver.workers.sinks.pusher import PusherSink
from palaver.workers.sinks.pusher_settings import load_pusher

__all__ = ["load_sinks"]


def load_sinks(settings: Settings, code: UserCode) -> list[Outlet]:
    """All of them; those of users run on the loop of user code. Raises ConfigurationError."""
    places = [place.strip() for place in settings.sinks.split(",") if place.strip()]
    outlets = [_outlet(place, _made(place), code) for place in places]
    pusher = load_pusher(settings)
    if pusher is not None:
        sink = PusherSink(pusher)
        outlets.append(Outlet("pusher", sink.kinds, sink.publish, sink.aclose))
    return outlets


def _outlet(place: str, sink: Sink, code: UserCode) -> Outlet:
    async def publish(*told: Any) -> None:
        await code.run(sink.publish, *told)

    async def close() -> None:
        await code.run(sink.aclose)

    return Outlet(place, sink.kinds, publish, close)


def _made(place: str) -> Sink:
    return class_at("PALAVER_SINKS", place, Sink)()  # type: ignore[type-abstract]
