"""Does the process live, and does it do its work? Asked without a key, by whoever restarts it."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import PlainTextResponse, Response

from palaver.producer.gateway.state import Served
from palaver.shared.errors import PalaverError

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
    """It takes requests: it does not stop, does what it has to do beside them, and the ledger answers."""
    reasons = ["draining: it stops"] if gateway.streams.draining else []
    reasons += [f"{chore.get_name()}: it has ended" for chore in gateway.chores if chore.done()]
    try:
        await gateway.client.ledger.check()
    except PalaverError as error:
        reasons.append(f"ledger: {error.code}")
    return PlainTextResponse("".join(f"{reason}\n" for reason in reasons) or "ok\n", 503 if reasons else 200)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses={200: {"description": "For Prometheus.", "content": {"text/plain": {}}}},
)
async def metrics(gateway: Served) -> Response:
    """What this process has done, in Prometheus' text format."""
    page = gateway.metrics_page()
    return Response(page.body, page.status, None, page.content_type)
