"""JSON answers, and what their headers say of a job."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from palaver.producer.handles import AsyncJobHandle

ESTIMATED: Final = {"x-palaver-estimated": "true"}
"""Of an answer whose figures nobody has counted."""


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, whatever orjson takes or a pydantic model."""
    content = body.model_dump_json().encode() if isinstance(body, BaseModel) else orjson.dumps(body)
    return Response(content, status, dict(headers or {}), "application/json")


def request_id_headers(request: Request) -> dict[str, str]:
    """The id of a request, as OpenAI's and Anthropic's clients look for it. It is made once."""
    request_id = getattr(request.state, "request_id", None)
    if request_id is None:
        request_id = request.state.request_id = f"req_{secrets.token_hex(12)}"
    return {"x-request-id": request_id, "request-id": request_id}


def job_headers(handle: AsyncJobHandle) -> dict[str, str]:
    """Which job it is, in which session, and from where its events can be read."""
    return {
        "x-palaver-job": handle.job_id,
        "x-palaver-session": handle.session_id,
        "x-palaver-cursor": str(handle.cursor),
    }
