"""Whoever answers OpenAI's API: our gateway, LiteLLM's proxy, and the provider that stands behind both."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.benchmarks.contenders import Palaver
from tests.benchmarks.stage import Load, Stage, Stuck
from tests.processes import ROOT, Running
from tests.servers import free_port

LITELLM_PYTHON: Final[Path] = ROOT / ".venv" / "litellm" / "bin" / "python"
STARTING_SECONDS: Final = 120
SLOTS: Final = 200
"""Jobs that our worker takes at once."""


@dataclass(frozen=True)
class Server:
    """One process that is asked for answers, and those that work for it."""

    port: int
    process: Running
    helpers: tuple[Running, ...] = ()

    @property
    def pids(self) -> list[int]:
        """Of all processes that an answer takes, but the provider's."""
        return [running.pid for running in (self.process, *self.helpers)]


Enter = Callable[[Stage], Server]


def provider(on: Stage) -> Server:
    """The provider, asked directly."""
    return Server(on.provider_port, on.provider)


def palaver(on: Stage) -> Server:
    """`palaver gateway` with a worker and Redis, as anybody starts them."""
    contender = Palaver(on, Load(streams=SLOTS, chunks=0))
    worker = contender.start()
    command = ("palaver", "gateway", "--port", "0", "--json")
    gateway = on.processes.start(command, name="gateway", env=contender.environment)
    port = int(gateway.wait_for(r'"url":"http://127.0.0.1:(\d+)"', seconds=60)[1])
    assert on.redis.running is not None
    return Server(port, gateway, (worker, on.redis.running))


def litellm(on: Stage) -> Server:
    """LiteLLM's proxy with one worker, without a database, and with nothing to do beside passing on."""
    upstream = {"model": "openai/m", "api_base": on.provider_url, "api_key": "none"}
    document = {
        "model_list": [{"model_name": "bench/m", "litellm_params": upstream}],
        "litellm_settings": {"telemetry": False, "num_retries": 0},
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},  # ours checks none either
    }
    config = on.processes.folder / "litellm.yaml"
    config.write_text(json.dumps(document), encoding="utf-8")  # which is YAML too
    port = free_port()
    options = ("--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1")
    # Without the first it asks the network for prices; with the second it logs as little as ours.
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    running = on.processes.start((LITELLM_PYTHON.with_name("litellm"), *options), name="litellm", env=env)
    running.wait_for(r"Proxy initialized", seconds=STARTING_SECONDS)
    _wait_for_listener(port)
    return Server(port, running)


def _wait_for_listener(port: int) -> None:
    end = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise Stuck(f"nobody listens on {port}") from None
            time.sleep(0.1)
        else:
            return


SERVERS: Final[dict[str, Enter]] = {"provider": provider, "palaver": palaver, "litellm": litellm}
