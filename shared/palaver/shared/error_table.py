"""HTTP errors of providers become ours: one table, and the message inside their bodies."""

from typing import Any, Final

import orjson

from palaver.shared.error_tree import PalaverError, ValidationError
from palaver.shared.provider_errors import (
    APIError,
    AuthenticationError,
    NotFoundError,
    RateLimitError,
    ServerError,
    TimeoutError,
)

STATUS_ERRORS: Final[dict[int, type[PalaverError]]] = {
    400: ValidationError,
    401: AuthenticationError,
    403: AuthenticationError,
    404: NotFoundError,
    408: TimeoutError,
    413: ValidationError,
    422: ValidationError,
    429: RateLimitError,
}
"""The class of each status; any other 5xx is a ServerError, the rest an APIError."""

_LONGEST_MESSAGE = 500
_LARGEST_BODY = 64 * 1024
_DEEPEST = 10


def error_for_status(
    status: int,
    message: str | None = None,
    *,
    provider: str | None = None,
    retry_after: float | None = None,
    param: str | None = None,
    job_id: str | None = None,
) -> PalaverError:
    """The error that a provider's HTTP status means; `status_code` keeps the real one.

    `retry_after` is in seconds. The message should come from `extract_message`.
    """
    kind = STATUS_ERRORS.get(status) or (ServerError if 500 <= status < 600 else APIError)
    return kind(
        message or f"HTTP {status}",
        provider=provider,
        status_code=status,
        retry_after=retry_after,
        param=param,
        job_id=job_id,
    )


def extract_message(status: int, body: bytes | str | None) -> str:
    """The human part of an error body: `error.message`, `error`, `message` or `detail`, else `HTTP nnn`.

    A body that is not JSON (an HTML page of some proxy) is never copied.
    """
    fallback = f"HTTP {status}"
    if not body or len(body) > _LARGEST_BODY:
        return fallback
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return fallback
    return message_in(document) or fallback


def message_in(document: Any) -> str | None:
    """The same of the body's JSON; None if it has no such part."""
    return _clean(_message_in(document, _DEEPEST))


def _message_in(document: Any, depth: int) -> str | None:
    if isinstance(document, str) or not depth:
        return document if isinstance(document, str) else None
    if isinstance(document, list):
        # FastAPI's detail is a list of {"loc", "msg"}; some gateways wrap the one error in a list.
        return next((text for item in document if (text := _message_in(item, depth - 1))), None)
    if not isinstance(document, dict):
        return None
    for key in ("error", "message", "detail", "msg"):
        if text := _message_in(document.get(key), depth - 1):
            return text
    return None


def _clean(text: str | None) -> str | None:
    if not text or "<html" in text[:1000].lower() or text.lstrip()[:9].lower() == "<!doctype":
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"
