"""Errors of providers, in responses and inside streams, become ours. Statuses map in
`palaver.shared.errors`.
"""

import email.utils
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from palaver.shared.errors import (
    ContentFilterError,
    ModelNotFoundError,
    NotFoundError,
    PalaverError,
    RateLimitError,
    ServerError,
    ValidationError,
    error_for_status,
    extract_message,
    message_in,
)

Codes = Mapping[str, int]
"""A dialect's table of errors inside a stream: the status that each would have had as a response, by its
`code` or `type`.
"""


_NO_MESSAGE = "The provider reported an error in the middle of its answer."
_STATUS = re.compile(r"[45][0-9]{2}")


def response_error(status: int, headers: Mapping[str, str], body: bytes) -> PalaverError:
    """The error that an HTTP response means; `retry_after` in seconds where the response names it."""
    error = error_for_status(status, extract_message(status, body), retry_after=retry_after(headers))
    return _refined(error, _fields(_document(body)))


def stream_error(document: Any, codes: Codes) -> PalaverError:
    """The error that an object inside a 200 response means: `{"error": …}`, or the error itself.

    Without a known code it is a ServerError: the provider had begun to answer, so trying again makes sense.
    """
    fields = _fields(document)
    status = _status_of(fields, codes)
    message = message_in(document)
    if message is None:
        message = f"HTTP {status or 500}" if fields else _NO_MESSAGE
    if status is None:
        return _refined(ServerError(message), fields)
    error = error_for_status(status, message, retry_after=_told_pause(fields))
    return _refined(error, fields)


_PAUSES = {"retry_after": 1.0, "retry_after_seconds": 1.0, "retry_after_ms": 0.001}
_TRY_AGAIN = re.compile(r"\btry again in (?:(\d{1,4})m(?!s))?(?:(\d+(?:\.\d+)?)(ms|s))?")


def _told_pause(fields: dict[str, Any]) -> float | None:
    """Seconds to wait, of an error inside a stream, which has no headers: in a field of it, or of its
    `metadata`; or in its words, as OpenAI has them (`Please try again in 1.242s`, `in 6m0s`).
    """
    metadata = fields.get("metadata")
    for told in (fields, metadata if isinstance(metadata, dict) else {}):
        for name, unit in _PAUSES.items():
            number = _number(str(told[name])) if name in told else None
            if number is not None:
                return number * unit
    return _pause_in(str(fields.get("message")))


def _pause_in(message: str) -> float | None:
    found = _TRY_AGAIN.search(message)
    if found is None or not any(found.groups()):
        return None
    minutes, number, unit = found.groups()
    seconds = _number(number or "0")
    return None if seconds is None else int(minutes or 0) * 60 + seconds * (0.001 if unit == "ms" else 1.0)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, of `retry-after-ms` or either form of `Retry-After` (RFC 9110, 10.2.3).

    A date counts from the response's own `Date`, so that clocks that differ do not matter; without one, from
    this machine's clock.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (until - now).total_seconds())


def _date(value: str | None) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(value or "")
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _refined(error: PalaverError, fields: dict[str, Any]) -> PalaverError:
    code = str(fields.get("code") or fields.get("type") or "")
    kind: type[PalaverError] | None = None
    if "content_filter" in code:
        kind = ContentFilterError
    elif isinstance(error, NotFoundError) and ("model" in code or "model" in error.message.lower()):
        kind = ModelNotFoundError
    if kind is not None:
        error = kind(error.message, status_code=error.status_code)
    if isinstance(error, ValidationError) and isinstance(fields.get("param"), str):
        error.param = fields["param"]
    if isinstance(error, RateLimitError) and code == "insufficient_quota":
        error.retryable = False  # an empty account does not fill up while we wait
    return error


def _status_of(fields: dict[str, Any], codes: Codes) -> int | None:
    for key in ("code", "status", "status_code", "http_status"):
        value = fields.get(key)
        if isinstance(value, int | str) and _STATUS.fullmatch(str(value)):
            return int(value)
    for key in ("code", "type"):
        status = codes.get(str(fields.get(key)), 0)
        if status:
            return status
    return None


def _fields(document: Any) -> dict[str, Any]:
    inner = document.get("error") if isinstance(document, dict) else None
    if isinstance(inner, dict):
        return inner
    return document if isinstance(document, dict) else {}


def _document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < 1e9 else None
