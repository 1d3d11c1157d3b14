"""A control command with which an operator would hang a worker: its connections stay open."""

from pathlib import Path
from typing import Any

from celery.worker.control import control_command


@control_command(args=[("pipe", str)])
def hang(state: Any, pipe: str) -> dict[str, str]:
    """Hold the thread that takes messages until somebody writes into the named pipe."""
    Path(pipe).read_bytes()
    return {"ok": "it goes on"}
