"""A gateway in a thread of the test's process: its constants can be changed, and what it holds looked at."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import httpx2

from palaver.producer.gateway.server import Server, listen, make_server
from palaver.producer.gateway.state import Gateway
from palaver.shared.jobs import Status
from palaver.shared.ledger import operations
from palaver.shared.ledger.replies import Submitted
from palaver.shared.settings import Settings
from tests.http_clients import http_client
from tests.integration.gateway.keys import make_key
from tests.integration.ledger.world import World
from tests.servers import IN_TIME

BODY: dict[str, Any] = {"model": "scripted/echo", "messages": [{"role": "user", "content": "Hi"}]}
APIS = ("/v1/chat/completions", "/v1/messages", "/v1/responses")
STALL_SECONDS = 2.5
"""In tests of clients that stall: one that does not may be held up for two seconds by the machine."""


@dataclass(frozen=True)
class Here:
    """It serves at `url`; `key` is acme's."""

    settings: Settings
    server: Server
    gateway: Gateway
    url: str
    key: str

    def http(self, key: str | None = None, **options: Any) -> httpx2.Client:
        """A client, with `acme`'s key or another one."""
        headers = {"authorization": f"Bearer {key or self.key}"}
        return http_client(base_url=self.url, headers=headers, timeout=IN_TIME, **options)

    def connect(self) -> socket.socket:
        """A connection on which nothing was said yet."""
        return socket.create_connection((urlsplit(self.url).hostname, urlsplit(self.url).port), IN_TIME)

    def make_key(self, **fields: Any) -> str:
        """Another API key."""
        return make_key(self.settings, **fields)


@contextmanager
def gateway_here(settings: Settings) -> Iterator[Here]:
    """While it serves."""
    patient = settings.model_copy(update={"connect_seconds": IN_TIME})
    key, ready = make_key(patient, tenant="acme"), Event()
    with listen("127.0.0.1", 0, stall_seconds=settings.gateway_stall_seconds) as listener:
        server = make_server(settings, host="127.0.0.1", when_ready=ready.set)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="gateway")
        thread.start()
        try:
            assert ready.wait(IN_TIME)
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield Here(settings, server, server.gateway, url, key)
        finally:
            server.should_exit = True
            thread.join(IN_TIME)
            assert not thread.is_alive()


def begin(world: World, job: Submitted, *texts: str) -> None:
    """Take the job, and say something, as its worker does."""
    world.claim(job)
    start = b'"type":"stream_start","data":{"model":"m","provider":"p","offset":0,"metadata":{}}'
    world.ledger.run(
        operations.append(**world.claim_of(job, 1), first=1, events=[start], text="", reset=True)
    )
    world.append(job, *texts, first=2)


def submitted(session_id: str, job_id: str) -> Submitted:
    """What the submit of this job has said."""
    return Submitted(
        session_id=session_id,
        job_id=job_id,
        cursor=0,
        created=True,
        status=Status.QUEUED,
        position=0,
        dispatch=None,
    )
