"""Errors of batches; drawn in `error_tree`."""

from collections.abc import Mapping, Sequence
from typing import Any

from palaver.shared.error_tree import JobNotFoundError, ValidationError


class BatchInputError(ValidationError):
    """Lines of the batch's input are wrong; nothing was stored.

    `count` lines are; `problems` tells the first of them: `{"line": 3, "custom_id": …, "code": …, "param": …,
    "message": …}`, lines counted from 1.
    """

    code = "batch_input"
    fields = (*ValidationError.fields, "problems", "count")

    def __init__(
        self,
        message: str | None = None,
        *,
        problems: Sequence[Mapping[str, Any]] = (),
        count: int = 0,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.problems, self.count = [dict(problem) for problem in problems], count


class BatchNotFoundError(JobNotFoundError):
    """There is no such batch."""

    code = "batch_not_found"
