"""How tenants share what a process keeps of bodies."""

from collections.abc import Sequence

import pytest
from starlette.types import Message, Receive, Scope, Send

from palaver.producer.gateway import bounds
from palaver.producer.gateway.bounds import Bounds
from palaver.producer.gateway.counting import Counts
from palaver.producer.gateway.faults import RefusedBody
from palaver.shared.beside import whose
from palaver.shared.settings import Settings

LARGEST = 1_000_000
FREE = 64 * 1024
"""So much of each body is not counted."""


Asked = tuple[str, int]


async def ask(app: Bounds, tenant: str, size: int, then: Sequence[Asked] = ()) -> None:
    """A body of so many bytes, and while it is kept those of others."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b" " * (size + FREE), "more_body": True}

    async def send(_: Message) -> None:
        raise AssertionError("nothing is answered")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "asked": (app, tenant, then)}
    await app(scope, receive, send)


async def take(scope: Scope, receive: Receive, _: Send) -> None:
    app, tenant, then = scope["asked"]
    whose.set(tenant)
    await receive()
    if then:
        (name, size), *later = then
        await ask(app, name, size, later)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Bounds:
    monkeypatch.setattr(bounds, "LARGEST_AT_ONCE", 1)
    return Bounds(take, settings=Settings(gateway_body_bytes=LARGEST), counts=Counts())


async def test_a_tenant_has_no_more_than_it_leaves_to_others(app: Bounds) -> None:
    await ask(app, "a", 250_000, (("a", 250_000), ("b", 250_000), ("c", 125_000)))
    with pytest.raises(RefusedBody) as caught:
        await ask(app, "a", 250_000, (("a", 250_000), ("a", 1)))
    assert (caught.value.error.code, caught.value.status_code) == ("too_many_requests", 429)
    await ask(app, "a", 500_000)  # and nothing is left of those


async def test_who_finds_it_taken_by_others_has_done_nothing(app: Bounds) -> None:
    with pytest.raises(RefusedBody) as caught:
        await ask(app, "a", 500_000, (("b", 250_000), ("c", 125_000), ("d", 100_000)))
    assert (caught.value.error.code, caught.value.error.retry_after) == ("gateway_full", 5.0)
    assert "no tenant has room for more" in str(caught.value.error)
