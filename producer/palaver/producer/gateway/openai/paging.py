"""Pages of OpenAI's lists; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from palaver.shared.plain import refuse


def listed(items: Sequence[dict[str, Any]], *, after: str | None, limit: int) -> dict[str, Any]:
    """The page behind the item of the id `after`, as OpenAI's lists tell it. Raises ValidationError for an id
    that is in no page: a client that goes on from there would read the first one for ever.
    """
    first = place_behind([item["id"] for item in items], after)
    page = list(items[first : first + limit])
    return {
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": first + limit < len(items),
    }


def place_behind(ids: Sequence[str], after: str | None) -> int:
    """Where the page begins that follows this id. Raises ValidationError."""
    if after is None:
        return 0
    if after not in ids:
        refuse("after", "is not the id of anything in this list")
    return ids.index(after) + 1
