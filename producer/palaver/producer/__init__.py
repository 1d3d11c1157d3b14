"""The producer: submit chat jobs and batches, follow their events, get their results.

Names are loaded at first use: a program that only imports this pays for no client library.
"""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.producer.async_client import AsyncClient
    from palaver.producer.batches.handles import AsyncBatchHandle, BatchHandle
    from palaver.producer.client import Client
    from palaver.producer.handles import AsyncJobHandle, AsyncModelHandle, JobHandle, ModelHandle

_HOMES: Final = {
    "AsyncBatchHandle": "batches.handles",
    "AsyncClient": "async_client",
    "AsyncJobHandle": "handles",
    "AsyncModelHandle": "handles",
    "BatchHandle": "batches.handles",
    "Client": "client",
    "JobHandle": "handles",
    "ModelHandle": "handles",
}

__all__ = [
    "AsyncBatchHandle",
    "AsyncClient",
    "AsyncJobHandle",
    "AsyncModelHandle",
    "BatchHandle",
    "Client",
    "JobHandle",
    "ModelHandle",
]

__getattr__, __dir__ = _lazily(__name__, _HOMES)
