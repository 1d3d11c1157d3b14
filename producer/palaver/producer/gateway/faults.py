"""What went wrong, as HTTP: in OpenAI's shape, in Anthropic's, or in our own, by the path that was asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from palaver.producer.gateway.answers import json_response
from palaver.shared.errors import (
    AuthenticationError,
    ConfigurationError,
    FileMissingError,
    FileRefusedError,
    InternalError,
    JobLostError,
    LedgerUnavailableError,
    PalaverError,
    UnauthorizedError,
    ValidationError,
)

Body = dict[str, Any]

UNNAMED: Final = "palaver.unnamed"
"""In a request's scope: the job that it submits and no key names: who repeats it has another."""
_MESSAGES: Final = "/v1/messages"
_RETRIED_BY_CLIENTS: Final = (408, 409, 429)
"""And all from 500 on: OpenAI's and Anthropic's clients repeat a request after these, unless told not to."""

_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class ErrorDetail(BaseModel):
    """What went wrong. `code` is stable; `retryable`: the same request may succeed later."""

    type: str
    code: str
    message: str
    retryable: bool = False
    param: str | None = None
    job_id: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is an error, but for OpenAI's and Anthropic's APIs."""

    error: ErrorDetail


class RefusedBody(HTTPException):
    """A body that is refused while it is read; an HTTPException, since frameworks hide all others there."""

    def __init__(self, error: PalaverError) -> None:
        super().__init__(error.http_status)
        self.error = error


def told_as(request: Request) -> str:
    """The path by which the shape of a request's errors is chosen: two APIs share the list of models."""
    path = request.url.path
    return _MESSAGES if path.startswith("/v1/models") and is_anthropic(request) else path


def told_of_outage(request: Request, error: PalaverError) -> PalaverError:
    """A ledger that stood still may have the job all the same: clients that repeat a request by themselves
    would have it done twice, and be told of one.
    """
    job_id = request.scope.get(UNNAMED)
    if job_id is None or error.job_id is not None or not isinstance(error, LedgerUnavailableError):
        return error
    told = f"{error.message} Its job may go on all the same: GET /jobs/ID (X-Palaver-Job) tells."
    return LedgerUnavailableError(told, job_id=job_id, retryable=False)


def is_anthropic(request: Request) -> bool:
    """Whether Anthropic's client asks."""
    return "anthropic-version" in request.headers


def error_response(path: str, error: PalaverError) -> Response:
    """The answer to a request to this path that failed."""
    if isinstance(
        error, FileMissingError | FileRefusedError
    ):  # another's is as unknown as one that never was
        error = FileMissingError("There is no such file.", param="files")
    status, body = error_body(path, error)
    return json_response(body, status=status, headers=_headers(status, error))


def error_body(path: str, error: PalaverError) -> tuple[int, Body]:
    """Status and body; also for a stream that has begun, where the status cannot be told any more."""
    return _shape(path)(error)


def openai_error(error: PalaverError) -> Body:
    """OpenAI's error object: what stands under `error`.

    https://platform.openai.com/docs/guides/error-codes
    """
    return _openai(error)[1]["error"]  # type: ignore[no-any-return]


def _shape(path: str) -> Callable[[PalaverError], tuple[int, Body]]:
    if path.startswith(_MESSAGES):
        return _anthropic
    return _openai if path.startswith("/v1/") else _own


def _own(error: PalaverError) -> tuple[int, Body]:
    detail = ErrorDetail(
        type=error.type,
        code=error.code,
        message=_words(error),
        retryable=error.retryable,
        param=error.param,
        job_id=error.job_id,
    )
    return _status(error), {"error": detail.model_dump(mode="json")}


def _openai(error: PalaverError) -> tuple[int, Body]:
    status, code = _status(error), error.code
    if isinstance(error, ValidationError) and status == 422:
        status = 400
        if error.param == "model":
            status, code = 404, "model_not_found"
    kind = "invalid_request_error" if status < 429 else "rate_limit_error" if status == 429 else "api_error"
    return status, {"error": {"message": _words(error), "type": kind, "param": error.param, "code": code}}


def _anthropic(error: PalaverError) -> tuple[int, Body]:
    status = _status(error)
    if isinstance(error, ValidationError) and status == 422:
        status = 404 if error.param == "model" else 400
    kind = _ANTHROPIC_TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return status, {"type": "error", "error": {"type": kind, "message": _words(error)}}


def _status(error: PalaverError) -> int:
    if isinstance(error, AuthenticationError):  # the provider refuses our key: the caller's is fine
        return 502
    if isinstance(error, JobLostError):  # whose request it is has done nothing wrong
        return 500
    if isinstance(error, ConfigurationError):
        return 501
    return error.http_status


def _words(error: PalaverError) -> str:
    return error.message.encode(errors="replace").decode()


def _headers(status: int, error: PalaverError) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if status in _RETRIED_BY_CLIENTS or status >= 500:
        headers["x-should-retry"] = "true" if error.retryable else "false"
    if isinstance(error, UnauthorizedError):
        headers["www-authenticate"] = "Bearer"
    if error.job_id is not None:
        headers["x-palaver-job"] = error.job_id
    return headers


def unexpected() -> PalaverError:
    """A bug of ours; its traceback is in the log."""
    return InternalError("An internal error happened; the gateway's log has more.")
