"""Control commands with which an operator would spoil a worker: its connections stay open."""

import time
from pathlib import Path
from typing import Any

from celery.worker.control import control_command


@control_command(args=[("pipe", str)])
def hang(state: Any, pipe: str) -> dict[str, str]:
    """Hold the thread that takes messages until somebody writes into the named pipe."""
    Path(pipe).read_bytes()
    return {"ok": "it goes on"}


@control_command(args=[("room", int)])
def starve(state: Any, room: int) -> dict[str, str]:
    """Have no lane ask for a message; 1: as before."""
    slots, lanes = state.consumer.pool.slots, state.consumer.task_consumer
    for lane in lanes._all:
        lane.channel.room = (lambda: slots.room) if room else (lambda: 0)
    return {"ok": "it asks" if room else "it asks no more"}


@control_command(args=[("seconds", float)])
def dawdle(state: Any, seconds: float) -> dict[str, str]:
    """Have the thread that takes messages rest before each."""
    lanes = state.consumer.task_consumer
    take = getattr(lanes.on_message, "take", lanes.on_message)

    def slowly(message: Any) -> None:
        time.sleep(seconds)
        take(message)

    slowly.take = take  # type: ignore[attr-defined]
    lanes.on_message = slowly
    return {"ok": "it takes its time"}
