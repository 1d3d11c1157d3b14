"""The model server of `tests/provider.py`, started for a test and asked what it saw."""

import json
import urllib.request
from typing import Any

from tests.processes import Processes, Running


class ModelServer:
    """A running model server. `openai_url` and `ollama_url` are base URLs for profiles."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.port = int(running.wait_for(r"^(\d+)$")[1])
        self.origin = self.ollama_url = f"http://127.0.0.1:{self.port}"
        self.openai_url = f"{self.origin}/v1"

    def get(self, path: str) -> dict[str, Any]:
        """The JSON of a GET."""
        with urllib.request.urlopen(self.origin + path, timeout=10) as response:  # noqa: S310
            document: dict[str, Any] = json.load(response)
        return document

    def stats(self) -> dict[str, Any]:
        """requests, open, max_open, connections, closed_by_client (times)."""
        return self.get("/_stats")

    def last(self) -> dict[str, Any]:
        """path, headers, body of the last request."""
        return self.get("/_last")

    def writes(self, key: str) -> list[float]:
        """time.time() of every write of the response whose script had this `key`."""
        times: list[float] = self.get(f"/_writes/{key}")["writes"]
        return times


def start_model_server(processes: Processes) -> ModelServer:
    """Start one on a free port and wait until it listens."""
    return ModelServer(processes.python("-m", "tests.provider", name="model server"))
