"""What a gateway tells Prometheus: its requests, and how many it tells something now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from palaver.producer.gateway.answers import request_id_headers
from palaver.producer.gateway.bodies import BodyRoute, Handler
from palaver.producer.gateway.faults import RefusedBody, error_body
from palaver.shared.errors import PalaverError, ValidationError
from palaver.shared.metrics import Family, Histogram, Sample, Tally, catalogue


class Counts:
    """Of one process."""

    def __init__(self) -> None:
        self._requests = Tally(catalogue.HTTP_REQUESTS)
        self._seconds = Histogram(catalogue.HTTP_SECONDS)

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.add(route, str(status))
        self._seconds.observe(seconds, route)

    def families(self, *, streams: int, feeds: int) -> Iterator[Family]:
        """All metrics; how many streams are told and sessions followed is known elsewhere."""
        yield self._requests.metric, self._requests.samples()
        yield self._seconds.metric, self._seconds.samples()
        yield catalogue.HTTP_STREAMS, [Sample((), streams)]
        yield catalogue.HTTP_FEEDS, [Sample((), feeds)]


class CountedRoute(BodyRoute):
    """A route whose requests are counted when their answer begins: a stream is not looked at again."""

    def get_route_handler(self) -> Handler:
        """The route's handler, which counts."""
        handler = super().get_route_handler()

        async def counted(request: Request) -> Response:
            began, status = time.perf_counter(), 500
            try:
                response = await handler(request)
            except (PalaverError, RequestValidationError, HTTPException) as error:
                status = _status(request.url.path, error)
                raise
            else:
                status = response.status_code
                response.headers.update(request_id_headers(request))
            finally:
                counts: Counts = request.app.state.gateway.counts
                counts.add(self.path, status, time.perf_counter() - began)
            return response

        return counted


def counted_router(**options: Any) -> APIRouter:
    """A router whose routes are counted."""
    return APIRouter(route_class=CountedRoute, **options)


def _status(path: str, error: PalaverError | RequestValidationError | HTTPException) -> int:
    if isinstance(error, RefusedBody):
        return error_body(path, error.error)[0]
    if isinstance(error, HTTPException):
        return error.status_code
    known = error if isinstance(error, PalaverError) else ValidationError()
    return error_body(path, known)[0]
