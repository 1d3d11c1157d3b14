"""Routes: who asks is known before a body is read, and all requests are counted."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from palaver.producer.gateway.access.caller import admit
from palaver.producer.gateway.answers import request_id_headers
from palaver.producer.gateway.bodies import BodyRoute, Handler
from palaver.producer.gateway.counting import COUNTED, Counts
from palaver.producer.gateway.faults import RefusedBody, error_response
from palaver.shared.errors import PalaverError, ValidationError


class CountedRoute(BodyRoute):
    """Its requests are counted when their answer begins: a stream is not looked at again. Nobody's body is
    waited for before it is known who asks: frameworks read it first.
    """

    def get_route_handler(self) -> Handler:
        """The route's handler, which asks who it is, and counts."""
        handler = super().get_route_handler()

        async def counted(request: Request) -> Response:
            began, status = time.perf_counter(), 500
            try:
                if self.body_field is not None:
                    await admit(request)
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
                request.scope[COUNTED] = True
            return response

        return counted


def counted_router(**options: Any) -> APIRouter:
    """A router whose routes are counted."""
    return APIRouter(route_class=CountedRoute, **options)


def _status(path: str, error: PalaverError | RequestValidationError | HTTPException) -> int:
    if isinstance(error, RefusedBody):
        return error_response(path, error.error).status_code
    if isinstance(error, HTTPException):
        return error.status_code
    known = error if isinstance(error, PalaverError) else ValidationError()
    return error_response(path, known).status_code
