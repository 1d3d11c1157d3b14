"""Does the process live, and does it do its work? Asked without a key, by whoever restarts it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from palaver.producer.gateway.state import Gateway, Served
from palaver.shared.errors import PalaverError
from palaver.shared.ledger import operations

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> PlainTextResponse:
    """The process lives."""
    return PlainTextResponse("ok\n")


@router.get(
    "/readyz",
    response_class=PlainTextResponse,
    responses={503: {"description": "Why not, a line each.", "content": {"text/plain": {}}}},
)
async def readyz(gateway: Served) -> PlainTextResponse:
    """It takes requests: it does not stop, does what it has to do beside them, and the ledger answers.

    The ledger is asked what readers ask: one that takes no writes may refuse a PING, and one that still reads
    its file knows what time it is. A broker that does not answer is told and no reason, nor is a ledger that
    takes no writes: readers need none, and all gateways have the same.
    """
    reasons = ["draining: it stops"] if gateway.streams.draining else []
    reasons += [f"{chore.get_name()}: it has ended" for chore in gateway.chores if chore.done()]
    try:
        await gateway.client.ledger.query(operations.unended(gateway.client.ledger.keys))
    except PalaverError as error:
        reasons.append(f"ledger: {error.code}")
    lines = reasons or ["ok", *await _refusals(gateway)]
    return PlainTextResponse("".join(f"{line}\n" for line in lines), 503 if reasons else 200)


async def _refusals(gateway: Gateway) -> list[str]:
    ledger, found = gateway.client.ledger, []

    async def write() -> None:
        await ledger.query(operations.write_nothing(ledger.keys))

    for service, take in (("ledger", write), ("broker", gateway.client.prepare)):
        try:
            await take()
        except PalaverError as error:
            found.append(f"{service}: {error.code}; what is there is served, new jobs are refused")
    return found


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"description": "For Prometheus.", "content": {"text/plain": {}}}},
)
async def metrics(gateway: Served) -> Response:
    """What this process has done, in Prometheus' text format."""
    page = gateway.metrics_page()
    return Response(page.body, page.status, None, page.content_type)
