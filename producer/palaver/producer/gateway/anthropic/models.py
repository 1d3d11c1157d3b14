"""Models, as Anthropic's API tells them; pure. https://docs.anthropic.com/en/api/models-list"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def page_of(ids: Sequence[str]) -> dict[str, Any]:
    """All of them, on one page."""
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return {
        "data": [document_of(name) for name in ids],
        "has_more": False,
        "first_id": first,
        "last_id": last,
    }


def document_of(name: str) -> dict[str, Any]:
    """One of them: an unknown time is the epoch."""
    named = {"type": "model", "id": name, "display_name": name}
    return {**named, "created_at": "1970-01-01T00:00:00Z", "lifecycle": "active"}
