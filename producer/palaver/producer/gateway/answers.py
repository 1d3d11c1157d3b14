"""JSON answers, and what their headers say of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from palaver.producer.handles import AsyncJobHandle


def json_response(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, whatever orjson takes or a pydantic model."""
    content = body.model_dump_json().encode() if isinstance(body, BaseModel) else orjson.dumps(body)
    return Response(content, status, dict(headers or {}), "application/json")


def job_headers(handle: AsyncJobHandle) -> dict[str, str]:
    """Which job it is, in which session, and from where its events can be read."""
    return {
        "x-palaver-job": handle.job_id,
        "x-palaver-session": handle.session_id,
        "x-palaver-cursor": str(handle.cursor),
    }
