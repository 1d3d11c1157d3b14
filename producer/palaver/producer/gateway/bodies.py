"""JSON bodies: bounded by what they hold, and read beside the loop where they are large."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pydantic
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.responses import Response

from palaver.producer.gateway.bounds import BODY
from palaver.producer.gateway.faults import RefusedBody
from palaver.shared.beside import beside
from palaver.shared.document import validation_error
from palaver.shared.errors import PalaverError, RequestTooLargeError, ValidationError
from palaver.shared.jobs import MAX_VALUES
from palaver.shared.plain import counted

_CHARSETS: Final = (b"utf-8", b"us-ascii", b"iso-8859-1")
"""In which the names of a form may be: some clients tell it."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BodyRoute(APIRoute):
    """A route whose body is read as `read_body` says."""

    def get_route_handler(self) -> Handler:
        """The route's handler, of requests that read their bodies so."""
        handler = super().get_route_handler()
        model = None if self.body_field is None else self.body_field.field_info.annotation

        async def reading(request: Request) -> Response:
            try:
                return await handler(_Reading(request, model))
            except (HTTPException, RequestValidationError) as error:
                # The framework's knows its traceback, which knows it, and the body: a whole one would stay
                # of each client that leaves, until the collector comes.
                error.__cause__ = error.__context__ = error.__traceback__ = None
                raise
            finally:
                request.scope[BODY]()

        return reading


class _Reading(Request):
    """A request; the framework takes its body as it is: an instance of the route's model already. Itself it
    would list all that is wrong in it, which takes far longer than to send that.
    """

    def __init__(self, request: Request, model: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._model = model

    def form(self, **limits: Any) -> Any:
        """The framework decodes by whatever codec is named, and Punycode's holds the loop up for minutes."""
        _, options = parse_options_header(self.headers.get("content-type"))
        if options.get(b"charset", _CHARSETS[0]).lower() not in _CHARSETS:
            told = "Content-Type: must name no charset, or UTF-8"
            raise RefusedBody(ValidationError(told, param="Content-Type"))
        return super().form(**limits)

    async def json(self) -> Any:
        content = await self.body()
        try:
            return await beside(lambda: read_body(content, self._model), content)
        except PalaverError as error:
            problem = error.with_traceback(None)  # which knows the body, and would know this frame
        raise RefusedBody(problem)


def read_body(content: bytes, model: type[pydantic.BaseModel]) -> pydantic.BaseModel:
    """The body. Raises RequestTooLargeError for one of more values than a job can have, before anything
    else looks at them; ValidationError.
    """
    try:
        return model.model_validate(_bounded(json.loads(content)))
    except pydantic.ValidationError as error:
        problem = validation_error(error)
    except (ValueError, RecursionError):
        problem = ValidationError("The body is not valid JSON.")
    raise problem


def _bounded(document: Any) -> Any:
    if counted(document, MAX_VALUES) > MAX_VALUES:
        raise RequestTooLargeError(f"The body of the request has more than {MAX_VALUES} values.")
    return document
