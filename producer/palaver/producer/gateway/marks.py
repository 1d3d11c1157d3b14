"""Marks: metadata of jobs and batches that the gateway itself writes, and believes; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from palaver.shared.plain import below, refuse

_OURS: Final = "palaver:"
BACKGROUND: Final = f"{_OURS}background"
PREVIOUS: Final = f"{_OURS}previous_response_id"
UNSTORED: Final = f"{_OURS}unstored"


def check_metadata(metadata: Any) -> None:
    """Raises ValidationError for what only we may say."""
    for name in metadata if isinstance(metadata, dict) else ():
        if _is_ours(name):
            refuse(below("metadata", name), f"must not begin with {_OURS}")


def theirs(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What the client has said."""
    return {name: value for name, value in metadata.items() if not _is_ours(name)}


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS)
