"""What `client.batch` takes besides the jobs; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

from palaver.shared.batches import BatchJob, new_batch_id
from palaver.shared.jobs import ChatJob
from palaver.shared.params import ChatParams
from palaver.shared.plain import refuse


class BatchFields(TypedDict, total=False):
    """The fields of `BatchJob` that a caller gives, and defaults of its lines: `model` and `params`."""

    model: str | Sequence[str] | None
    params: ChatParams | Mapping[str, Any] | None
    window: int | None
    completion_window: float
    fail_fast: bool
    dedupe: bool
    user: str | None
    tenant: str | None
    idempotency_key: str | None
    webhook: str | None
    metadata: Mapping[str, Any]


_OF_LINES: Final = frozenset(("model", "params"))
_TAKEN: Final = frozenset(BatchFields.__annotations__) | {"retry_of"}
_UNKNOWN: Final = {"input": "0" * 64, "total": 1}


def draft_of(fields: Mapping[str, Any]) -> BatchJob:
    """The batch, but for what its input tells. Raises ValidationError."""
    for name in fields.keys() - _TAKEN:
        refuse(name, "is not an argument of a batch")
    own = {name: value for name, value in fields.items() if name not in _OF_LINES}
    draft = BatchJob.validated({**own, "batch_id": "unnamed", **_UNKNOWN})
    return draft.model_copy(update={"batch_id": new_batch_id(draft.tenant, draft.idempotency_key)})


def defaults_of(fields: Mapping[str, Any]) -> ChatJob:
    """A job that has what lines take when they say nothing themselves. Raises ValidationError."""
    given = {"model": fields.get("model"), "params": fields.get("params") or {}}
    return ChatJob.validated({"messages": "-", **given})
