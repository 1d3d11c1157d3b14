"""What a worker's process counts, and the pages that tell it."""

from palaver.workers.metrics.counts import Counts
from palaver.workers.metrics.measured import Measured

__all__ = ["Counts", "Measured"]
