"""The ASGI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from palaver.producer.gateway import health
from palaver.producer.gateway.access import watch
from palaver.producer.gateway.answers import request_id_headers
from palaver.producer.gateway.anthropic import messages
from palaver.producer.gateway.bounds import Bounds
from palaver.producer.gateway.counting import COUNTED, UNROUTED
from palaver.producer.gateway.faults import (
    ErrorBody,
    RefusedBody,
    error_response,
    told_as,
    told_of_outage,
    unexpected,
)
from palaver.producer.gateway.heads import Heads
from palaver.producer.gateway.openai import batches, chat, files, models, responses
from palaver.producer.gateway.page import page
from palaver.producer.gateway.sessions import jobs, sessions
from palaver.producer.gateway.state import Gateway
from palaver.shared.document import told_of
from palaver.shared.errors import AccessError, PalaverError, ValidationError
from palaver.shared.frames import frames
from palaver.shared.settings import Settings

log = logging.getLogger("palaver.gateway")

_DESCRIPTION: Final = """
Durable, resumable chats with language models. OpenAI's and Anthropic's clients work by setting their
`base_url`; sessions have events that any number of readers follow, from any point on (`id` is the cursor).
"""
_OUR_HEADERS: Final = [
    *("X-Palaver-Job", "X-Palaver-Session", "X-Palaver-Cursor"),
    *("Retry-After", "X-Request-Id", "Request-Id"),
]
_ROUTERS: Final = (
    health.router,
    sessions.router,
    jobs.router,
    chat.router,
    responses.router,
    models.router,
    files.router,
    batches.router,
    messages.router,
    page.router,
)
_NO_ROUTE: Final = {
    404: "There is no {path} here; /docs shows all that is.",
    405: "{path} takes no {method}; /docs shows what it takes.",
}
_NO_JSON: Final = "Content-Type: must be application/json"
_SHOWN: Final = 100
_OUT_OF_BOUNDS: Final = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_NUMBER: Final = TypeAdapter[int | float](int | float)
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ErrorBody, "description": "What is wrong with the request."},
    "5XX": {"model": ErrorBody, "description": "What failed."},
}


def create_app(settings: Settings | None = None, *, open_to_loopback: bool = False) -> FastAPI:
    """The gateway, for any ASGI server. `app.state.gateway` is what its requests share.

    `open_to_loopback`: nobody but this machine reaches it, so that it needs no API keys while there are
    none. Raises ConfigurationError.
    """
    gateway = Gateway(settings or Settings.load(), open_to_loopback=open_to_loopback)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gateway.begin(watch=watch.watch(gateway), keep_alive=gateway.streams.keep_alive())
        yield
        await gateway.aclose()

    app = _Application(
        title="Palaver",
        description=_DESCRIPTION,
        version=version("palaver"),
        lifespan=lifespan,
        responses=_ERRORS,
        docs_url=None,  # the framework's pages load scripts of others; see page.py
        redoc_url=None,
        redirect_slashes=False,  # to whatever `Host` says, and by HTTP also for who came by HTTPS
    )
    app.state.gateway = gateway
    for router in _ROUTERS:
        app.include_router(router)
    app.exception_handler(PalaverError)(_failed)
    app.exception_handler(RequestValidationError)(_not_valid)
    app.exception_handler(HTTPException)(_refused)
    app.exception_handler(Exception)(_crashed)
    _add_middleware(app, gateway)
    return app


class _Application(FastAPI):
    """Tells the log where a bug of ours was met, and nothing of the exception's text, which may quote a
    prompt, an answer or a key: the server, which would log that too, does not hear of it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. What was to be answered has been, by `_crashed`."""
        try:
            await super().__call__(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            route = getattr(scope.get("route"), "path", "")
            log.error("request_failed route=%s error=%s\n%s", route, type(error).__name__, frames(error))


def _add_middleware(app: FastAPI, gateway: Gateway) -> None:
    app.add_middleware(Bounds, settings=gateway.settings, counts=gateway.counts)
    app.add_middleware(Heads)
    if gateway.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=gateway.origins,
            allow_methods=["GET", "POST", "DELETE"],
            # Clients have headers of their own, and more with each release; there are no cookies that a page
            # could use without knowing them.
            allow_headers=["*"],
            expose_headers=_OUR_HEADERS,
        )


def _told(request: Request, error: PalaverError) -> Response:
    response = error_response(told_as(request), error)
    response.headers.update(request_id_headers(request))
    return response


async def _failed(request: Request, error: PalaverError) -> Response:
    return _told(request, told_of_outage(request, error))


async def _not_valid(request: Request, error: RequestValidationError) -> Response:
    items = error.errors()
    if items[0]["type"] == "json_invalid":
        return _told(request, ValidationError("The body is not valid JSON."))
    if items[0]["loc"] == ("body",) and isinstance(items[0]["input"], bytes):  # curl says that it is a form
        return _told(request, ValidationError(_NO_JSON, param="Content-Type"))
    return _told(request, told_of([_in_its_words(item) for item in items]))


def _in_its_words(item: Any) -> dict[str, Any]:
    """Places begin with the part of the request, and a client knows where it put what; a number in an address
    comes as text.
    """
    value = item["input"]
    if isinstance(value, str) and item["type"] in _OUT_OF_BOUNDS:
        value = _NUMBER.validate_python(value)
    return {**item, "loc": item["loc"][1:] or item["loc"], "input": value}


async def _refused(request: Request, error: HTTPException) -> Response:
    """What the framework itself refuses: an unknown path, another method, a body that is no JSON."""
    if isinstance(error, RefusedBody):
        return _told(request, error.error)
    told, path = str(error.detail), request.url.path[:_SHOWN]
    if error.status_code in _NO_ROUTE:
        told = _NO_ROUTE[error.status_code].format(method=request.method, path=path)
    if COUNTED not in request.scope:
        request.app.state.gateway.counts.add(UNROUTED, error.status_code, 0.0)
    refusal = AccessError(told, status_code=error.status_code)
    response = _told(request, refusal)
    response.headers.update(error.headers or {})
    return response


async def _crashed(request: Request, _error: Exception) -> Response:
    return _told(request, unexpected())
