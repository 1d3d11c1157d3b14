"""Batches as producers use them: reading the input, storing it, following the results.

Names are loaded at first use: who has no batches pays for none.
"""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.producer.batches.fields import BatchFields
    from palaver.producer.batches.handles import AsyncBatchHandle, BatchHandle
    from palaver.producer.batches.intake import Intake
    from palaver.producer.batches.lines import fits_a_line
    from palaver.producer.batches.retrying import fields_again, unanswered
    from palaver.producer.batches.source import BatchSource, entries
    from palaver.producer.batches.storing import discard, store, take_all

_HOMES: Final = {
    "AsyncBatchHandle": "handles",
    "BatchFields": "fields",
    "BatchHandle": "handles",
    "BatchSource": "source",
    "Intake": "intake",
    "discard": "storing",
    "entries": "source",
    "fields_again": "retrying",
    "fits_a_line": "lines",
    "store": "storing",
    "take_all": "storing",
    "unanswered": "retrying",
}

__all__ = [
    "AsyncBatchHandle",
    "BatchFields",
    "BatchHandle",
    "BatchSource",
    "Intake",
    "discard",
    "entries",
    "fields_again",
    "fits_a_line",
    "store",
    "take_all",
    "unanswered",
]

__getattr__, __dir__ = _lazily(__name__, _HOMES)
