"""A webhook whose job ended while no worker could tell: another worker tells it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

from standardwebhooks import Webhook

from palaver.producer import Client
from palaver.shared.events import WarningEvent
from palaver.shared.settings import Settings
from palaver.shared.webhooks import secret_text, secrets, tenant_secret
from tests.processes import Running

SECRET = "whsec_c2VjcmV0IG9mIGEgc3lzdGVtIHVuZGVyIHRlc3Q="
KEY = secret_text(tenant_secret(secrets(SECRET)[0], None))
HERE = "127.0.0.0/8,::1/128"
"""What the name of this machine stands for."""


@contextmanager
def receiver() -> Iterator[tuple[str, Queue[bytes]]]:
    """Its address, and what it was told and believes."""
    told: Queue[bytes] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            Webhook(KEY).verify(body, dict(self.headers))
            told.put(body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/hook?token=hush", told
        finally:
            server.shutdown()
            thread.join()


def test_another_worker_tells_what_the_first_could_not(
    worker: Callable[..., Running], palaver_env: dict[str, str]
) -> None:
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"], webhook_networks=HERE)
    with receiver() as (url, told), Client(settings) as client:
        first = worker()
        handle = client.submit("hello", webhook=url)
        warned = [event.data.param for event in handle.events() if isinstance(event, WarningEvent)]
        assert warned == ["webhook"]
        first.process.kill()
        first.process.wait()
        keys = {"PALAVER_WEBHOOK_SECRET": SECRET, "PALAVER_WEBHOOK_NETWORKS": HERE}
        second = worker(env=keys)
        event = json.loads(told.get(timeout=30))
        assert event["data"]["response"]["content"] == "hello"
        second.wait_for("webhook.delivered .*host=localhost")
        assert "hush" not in second.output
