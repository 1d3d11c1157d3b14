"""The trace that a request is part of: its job goes on with it."""

from __future__ import annotations

import re

from fastapi import Request

from palaver.shared.jobs import TRACEPARENT


def trace_fields(request: Request) -> dict[str, str]:
    """The field of a job that says so; nothing for a request without a trace, or with none that is valid.

    https://www.w3.org/TR/trace-context/: what is not valid is ignored.
    """
    parent = request.headers.get("traceparent", "")
    return {"traceparent": parent} if re.fullmatch(TRACEPARENT, parent) else {}
