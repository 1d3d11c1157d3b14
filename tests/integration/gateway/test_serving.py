"""The server under the routes: bounds, an end that loses no reader, and who is served without keys."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from palaver.shared.metrics import GATEWAY
from tests.http_clients import http_client
from tests.integration.gateway.conftest import Stand, new_session, script
from tests.integration.gateway.sse import following, told, until_end
from tests.servers import IN_TIME

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]


def test_a_body_has_a_bound(stand: Stand, http: httpx2.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(9):
            yield b" " * 1024 * 1024

    declared = http.post("/sessions", content=b" " * 9 * 1024 * 1024)
    undeclared = http.post("/sessions", content=pieces(), headers={"content-type": "application/json"})
    for answer in (declared, undeclared):
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b'{"context": NaN}', b"\xff", b"1" * 5000])
def test_a_body_that_is_no_document(http: httpx2.Client, body: bytes) -> None:
    answer = http.post("/sessions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["error"]["message"]


def test_a_head_has_a_bound(http: httpx2.Client) -> None:
    assert http.get("/healthz", headers={"x-long": "a" * 70_000}).status_code == 431
    assert http.get("/healthz", headers=[(f"x-{n}", "a" * 7_000) for n in range(10)]).status_code == 431
    assert http.get("/healthz").status_code == 200


def test_no_page_elsewhere_may_read_the_answers(http: httpx2.Client) -> None:
    assert (
        "access-control-allow-origin"
        not in http.get("/healthz", headers={"origin": "https://x.example"}).headers
    )


def test_requests_are_counted(http: httpx2.Client) -> None:
    before = http.get("/metrics")
    assert before.headers["content-type"].startswith("text/plain")
    http.get("/sessions/unknown")
    http.get("/sessions", params={"limit": 0})
    http.get("/agents")
    page = http.get("/metrics").text
    for route, status in (("/sessions/{session_id}", 404), ("/sessions", 422), ("/agents", 200)):
        labels = f'{{route="{route}",status="{status}"}}'
        assert f"palaver_gateway_requests_total{labels} " in page
    for metric in GATEWAY:
        assert f"# TYPE {metric.name.removesuffix('_total')}" in page
    assert "unknown" not in page


def test_a_gateway_of_its_own(stand: Stand) -> None:
    """Impatient with slow clients; it stops while somebody reads, who goes on at another one."""
    env = {"PALAVER_GATEWAY_STALL_SECONDS": "3", "PALAVER_GATEWAY_ORIGINS": "https://app.example"}
    running, url = stand.start_gateway(env=env)
    _it_cuts_off_who_stalls(url, stand.key)
    with stand.http() as second, http_client(base_url=url, headers=second.headers) as http:
        answer = http.get("/healthz", headers={"origin": "https://app.example"})
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        session_id = new_session()
        handle = stand.client.submit(script(endless=True, rate=50), session_id=session_id, tenant="acme")
        with http.stream("GET", f"/sessions/{session_id}/events") as response:
            items: list[dict[str, Any]] = []
            stream = told(response)
            while len(items) < 10:
                item = next(stream)
                items += [item.value] if item.kind == "event" else []
            running.process.terminate()
            rest = list(stream)
        items += [item.value for item in rest if item.kind == "event"]
        hints = [item.value for item in rest if item.kind == "retry"]
        assert len(hints) == 1
        assert 0 <= hints[0] < 2000
        assert running.wait(IN_TIME) == 0
        handle.cancel()
        last = {"last-event-id": str(items[-1]["seq"])}
        with following(second, session_id, headers=last) as events:
            items += until_end(events, handle.job_id)
    assert [item["seq"] for item in items] == list(range(1, len(items) + 1))


def _it_cuts_off_who_stalls(url: str, key: str) -> None:
    """Who does not finish the head of a request, or its body."""
    address = (urlsplit(url).hostname, urlsplit(url).port)
    body = f"POST /sessions HTTP/1.1\r\nauthorization: Bearer {key}\r\ncontent-length: 9\r\n\r\n".encode()
    begun = {b"": b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n": b"", body: b"HTTP/1.1 408"}
    connections = [socket.create_connection(address, timeout=IN_TIME) for _ in begun]
    for connection, words in zip(connections, begun, strict=True):
        connection.sendall(words)
    for connection, told_first in zip(connections, begun.values(), strict=True):
        with connection:
            try:
                assert connection.recv(12) == told_first
            except ConnectionResetError:
                assert not told_first


def test_without_keys_this_machine_is_served(stand: Stand) -> None:
    env = {"PALAVER_NAMESPACE": "nokeys", "PALAVER_DRAIN_SECONDS": "1"}
    running, url = stand.start_gateway(env=env)
    assert "whoever is on this machine" in running.output
    with http_client(base_url=url) as http:
        assert http.get("/sessions").status_code == 200
        assert http.get("/sessions", headers={"authorization": "Bearer anything"}).status_code == 200
        for headers in ({"host": "evil.example"}, {"x-forwarded-for": "192.0.2.1"}, {"forwarded": "for=x"}):
            assert http.get("/sessions", headers=headers).status_code == 401
        upload = {
            "file": ("a.txt", b"from a page")
        }  # which a page may send without being asked whether it may
        for headers, status in (
            ({"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
            ({"origin": "null"}, 403),
            ({"sec-fetch-site": "cross-site"}, 403),
            ({"origin": url.replace("127.0.0.1", "localhost"), "sec-fetch-site": "same-site"}, 403),
            ({"origin": url, "sec-fetch-site": "same-origin"}, 200),
        ):
            assert http.post("/v1/files", files=upload, headers=headers).status_code == status
        sent = http.post("/sessions", content=b"{}", headers={"content-type": "text/plain"})
        assert sent.status_code == 422, "what a form can send is no JSON"
    running.kill()


def test_an_app_for_other_servers_asks_for_keys(stand: Stand) -> None:
    from palaver.producer.gateway import create_app

    async def ask() -> httpx2.Response:
        app = create_app(stand.settings.model_copy(update={"namespace": "nokeys"}))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            answer = await http.get("/sessions")
        await app.state.gateway.aclose()
        return answer

    assert asyncio.run(ask()).status_code == 401
