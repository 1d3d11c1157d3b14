"""A control command with which an operator would hang a worker: its connections stay open."""

import time
from typing import Any

from celery.worker.control import control_command


@control_command(args=[("seconds", float)])
def hang(state: Any, seconds: float) -> dict[str, str]:
    """Hold the thread that takes messages for so long."""
    time.sleep(seconds)
    return {"ok": "it goes on"}
