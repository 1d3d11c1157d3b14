"""An error as a document: the form in which it crosses processes and comes back as the same class."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from palaver.shared import access_errors, batch_errors, file_errors, provider_errors  # noqa: F401 - a class is found by name once it is loaded
from palaver.shared.document import Document
from palaver.shared.error_tree import InternalError, PalaverError, error_class
from palaver.shared.plain import JsonObject, optional, plain, shape


class ErrorInfo(Document):
    """What a reader is told about a failure. `type` is the class name, `details` that class's own fields.

    Keys that a newer worker may add are ignored.
    """

    model_config = ConfigDict(extra="ignore")

    type: str
    code: str
    message: str
    retryable: bool = False
    http_status: int = 500
    job_id: str | None = optional()
    provider: str | None = optional()
    param: str | None = optional()
    details: JsonObject = Field(default_factory=dict)

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """The document of an error. Of a foreign one only the class is told: its text may hold content."""
        if not isinstance(error, PalaverError):
            error = InternalError(f"{type(error).__name__} in the worker; its log has the traceback")
        return cls(
            type=error.type,
            code=error.code,
            message=error.message.encode(errors="replace").decode(),
            retryable=error.retryable,
            http_status=error.http_status,
            job_id=error.job_id,
            provider=error.provider,
            param=error.param,
            details=_details(error),
        )

    def without_words(self) -> Self:
        """What a list or a log may show of it, where nothing that was asked or answered may show.

        A provider's message may quote the request, and so may `param` and `details`: the class's own sentence
        and the numbers are left.
        """
        kind = error_class(self.type) or PalaverError
        numbers = {
            name: self.details[name] for name in _NUMBERS if isinstance(self.details.get(name), int | float)
        }
        told = {"message": kind.sentence(), "param": None, "details": numbers}
        return self.model_copy(update=told)

    def exception(self) -> PalaverError:
        """The error itself: of its own class, or a `PalaverError` that keeps everything of an unknown one."""
        cls = error_class(self.type) or PalaverError
        # Without __init__: a class may ask for arguments that only its own code knows.
        error = cls.__new__(cls)
        Exception.__init__(error, self.message)
        state: dict[str, Any] = {name: self.details.get(name) for name in cls.fields}
        # Only what the class knows becomes an attribute; the rest is kept for whoever passes the error on.
        state["unknown_details"] = {k: v for k, v in self.details.items() if k not in cls.fields}
        state |= self.model_dump(include=_COMMON)
        error.__dict__.update(state)
        return error


_NUMBERS = ("status_code", "retry_after")
_COMMON = {"type", "code", "retryable", "http_status", "job_id", "provider", "param"}


def _details(error: PalaverError) -> dict[str, Any]:
    details: dict[str, Any] = dict(error.unknown_details)
    for name in error.fields:
        value = getattr(error, name, None)
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json", exclude_none=True)
        if value is not None:
            details[name] = _travelling(value, name)
    return details


def _travelling(value: Any, name: str) -> Any:
    # Reporting an error must never fail: what is no JSON is told by its shape.
    try:
        return plain(value, path=name)
    except ValueError:
        return shape(value)
