"""What a worker found out about a provider when it was asked to look."""

from typing import Annotated

from pydantic import ConfigDict, Field

from palaver.shared.document import Document
from palaver.shared.error_info import ErrorInfo
from palaver.shared.plain import Real, Text, optional

__all__ = ["Health"]


class Health(Document):
    """Whether a provider answers a worker, and has a model. No token is spent to know it.

    `latency_ms` is how long the provider took, as the worker saw it. Keys of a newer worker are ignored.
    """

    model_config = ConfigDict(extra="ignore")

    worker: Text
    latency_ms: Annotated[Real, Field(ge=0)] = 0.0
    error: ErrorInfo | None = optional()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.error is None
