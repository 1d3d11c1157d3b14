"""Batches as producers use them: reading the input, storing it, following the results."""

from palaver.producer.batches.fields import BatchFields
from palaver.producer.batches.handles import AsyncBatchHandle, BatchHandle
from palaver.producer.batches.intake import Intake
from palaver.producer.batches.source import BatchSource, entries

__all__ = ["AsyncBatchHandle", "BatchFields", "BatchHandle", "BatchSource", "Intake", "entries"]
