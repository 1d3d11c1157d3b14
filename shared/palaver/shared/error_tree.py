"""The errors of Palaver. Those of providers, files, batches and the gateway have modules of their own;
all are drawn here.

PalaverError
├── ValidationError (ValueError)        the input is wrong; nothing was stored
│   ├── BatchInputError                 lines of a batch's input are
│   └── NewerDocumentError              it is of a version that this process does not know
├── ConfigurationError                  palaver.toml or the environment is wrong
├── InternalError                       a bug of ours
├── WrongStateError (RuntimeError)      a call that the object takes at another time
├── ServiceUnavailableError             retryable
│   ├── LedgerUnavailableError          the ledger's Redis does not answer
│   ├── BrokerUnavailableError          the Celery broker does not answer
│   ├── FileStoreUnavailableError       the store of files does not answer
│   └── ArchiveUnavailableError         the database of conversations does not
├── LedgerFullError                     the ledger's Redis is out of memory
├── BrokerFullError                     the Celery broker is
├── QueueFullError                      too many jobs are waiting
├── SpendLimitError                     the tenant has spent what it may in this month
├── ConflictError                       an idempotency key or a job id was used with another body
├── SessionBusyError                    on_busy="reject" and a job runs
├── SessionClosedError                  the session takes no more messages
├── SessionNotFoundError                there is no such session, or it is somebody else's
├── JobError
│   ├── JobNotFoundError
│   │   └── BatchNotFoundError
│   ├── JobNotFinishedError
│   ├── JobLostError                    Redis lost acknowledged writes
│   ├── JobCancelledError
│   ├── JobExpiredError
│   ├── JobPoisonedError                workers die of it
│   ├── WaitTimeoutError (TimeoutError) the wait ended, the job goes on
│   ├── ChatIncompleteResponseError     still truncated after the last continue
│   ├── AnswerTooLargeError             the answer goes on beyond its bound
│   ├── StructuredOutputError           the answer does not fit its schema
│   ├── AgentError                      an agent's own code failed
│   └── LeaseError                      the ledger's verdicts on a worker's write
│       ├── FencedError                 another attempt has the job
│       ├── JobEndedError
│       ├── JobGoneError
│       └── SequenceGapError            writes before this one are missing
├── AccessError                      the gateway does not serve a request
│   ├── UnauthorizedError
│   ├── ForbiddenError
│   ├── TooManyRequestsError            retryable
│   ├── GatewayFullError                retryable
│   ├── GatewayStoppedError             retryable
│   ├── RequestTooLargeError
│   └── RequestTimeoutError             retryable
├── ChatClientError                     an abstract ChatClient's stream failed
├── FileError
│   ├── FileMissingError                there is no such file
│   ├── FileRefusedError                it is another user's
│   ├── FileTooLargeError (ValueError)
│   └── FileTypeError (ValueError)      no type of file that is taken
└── ProviderError
    ├── APIError                        a status that none below covers
    │   ├── AuthenticationError         401, 403
    │   ├── NotFoundError               404
    │   │   └── ModelNotFoundError      also an OllamaError
    │   ├── RateLimitError              429, retryable
    │   └── ServerError                 5xx, retryable
    ├── CircuitOpenError                retryable; it failed too often and is not asked for a while
    ├── TimeoutError (TimeoutError)     retryable, also 408
    ├── ConnectionError (ConnectionError) retryable
    ├── StreamInterruptedError          retryable
    ├── MalformedStreamError
    ├── ContentFilterError
    └── OllamaError
        └── ChatError                   has a context

Names in brackets are the builtins that a class also derives from. No message holds a prompt, an answer or a
key.
"""

import builtins
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

_registry: dict[str, type["PalaverError"]] = {}


class PalaverError(Exception):
    """Something failed in Palaver.

    The docstring's first line is the message when none is given. `fields` names what travels in `details`.
    """

    code: ClassVar[str] = "palaver_error"
    fields: ClassVar[tuple[str, ...]] = ("status_code", "retry_after")
    callers_fault: ClassVar[bool] = False
    """What was asked for is at fault: no operator can mend that."""
    retryable: bool = False
    http_status: int = 500
    type: str = "PalaverError"
    job_id: str | None = None
    provider: str | None = None
    param: str | None = None
    status_code: int | None = None
    retry_after: float | None = None
    unknown_details: Mapping[str, Any] = MappingProxyType({})
    """What a class of a newer version told beyond the fields that are known here."""
    response: Any = None
    """What there is of the answer, for whoever catches the error; it does not travel with it."""
    handles: Any = None
    """From `submit_many`: one for each of its jobs, None where a job is not stored; it does not travel."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.type = cls.__name__
        # The first class of a name keeps it: nobody takes over the meaning of one of ours.
        _registry.setdefault(cls.__name__, cls)

    def __init__(
        self,
        message: str | None = None,
        *,
        job_id: str | None = None,
        provider: str | None = None,
        param: str | None = None,
        status_code: int | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message or self.sentence())
        self.job_id, self.provider, self.param = job_id, provider, param
        self.status_code, self.retry_after = status_code, retry_after
        if retryable is not None:
            self.retryable = retryable
        if status_code is not None and 400 <= status_code < 600:
            self.http_status = status_code

    @classmethod
    def sentence(cls) -> str:
        """What every error of this class means: the first line of its docstring."""
        return (cls.__doc__ or cls.__name__).partition("\n")[0]

    @property
    def message(self) -> str:
        """What went wrong, in one sentence."""
        return str(self.args[0]) if self.args else ""


_registry["PalaverError"] = PalaverError


def error_class(name: str) -> builtins.type[PalaverError] | None:
    """The class of this name, also one that a provider package defined; None for an unknown one."""
    return _registry.get(name)


class ValidationError(PalaverError, ValueError):
    """The input is not valid."""

    code = "invalid_request"
    callers_fault = True
    http_status = 422


class NewerDocumentError(ValidationError):
    """The document is of a newer version than this process knows."""

    code = "newer_document"
    callers_fault = False


class ConfigurationError(PalaverError):
    """The configuration is not valid."""

    code = "configuration"


class InternalError(PalaverError):
    """An internal error happened in Palaver."""

    code = "internal"


class WrongStateError(PalaverError, RuntimeError):
    """The object does not take this call now."""

    code = "wrong_state"
    http_status = 409


class ServiceUnavailableError(PalaverError):
    """A service that Palaver needs cannot be reached."""

    code = "service_unavailable"
    retryable = True
    http_status = 503


class LedgerUnavailableError(ServiceUnavailableError):
    """The ledger's Redis cannot be reached."""

    code = "ledger_unavailable"
    answered: bool = False
    """It was reached, and has done nothing of what was asked; it does not travel with the error."""


class BrokerUnavailableError(ServiceUnavailableError):
    """The Celery broker cannot be reached."""

    code = "broker_unavailable"


class ArchiveUnavailableError(ServiceUnavailableError):
    """The database of conversations cannot be reached."""

    code = "archive_unavailable"


class LedgerFullError(PalaverError):
    """The ledger's Redis is out of memory."""

    code = "ledger_full"
    retryable = True
    http_status = 507


class BrokerFullError(PalaverError):
    """The Celery broker is out of memory."""

    code = "broker_full"
    retryable = True
    http_status = 507


class QueueFullError(PalaverError):
    """Too many jobs are waiting."""

    code = "queue_full"
    retryable = True
    http_status = 429


class SpendLimitError(PalaverError):
    """The tenant has spent what it may in this month.

    `spent` and `limit` are dollars; `resets_at`, Unix time, is when the next month begins, UTC.
    """

    code = "spend_limit"
    callers_fault = True
    http_status = 402
    fields = (*PalaverError.fields, "spent", "limit", "resets_at")

    def __init__(
        self,
        message: str | None = None,
        *,
        spent: float = 0.0,
        limit: float = 0.0,
        resets_at: float = 0.0,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.spent, self.limit, self.resets_at = spent, limit, resets_at

    @property
    def is_final(self) -> bool:
        """Whether all is spent: a cheaper request would be refused too, until `resets_at`."""
        return bool(self.resets_at) and self.spent >= self.limit


class ConflictError(PalaverError):
    """The idempotency key was used before with another body."""

    code = "conflict"
    http_status = 409


class SessionBusyError(PalaverError):
    """The session is running another job."""

    code = "session_busy"
    retryable = True
    http_status = 409


class SessionClosedError(PalaverError):
    """The session is closed and takes no more messages."""

    code = "session_closed"
    http_status = 409


class SessionNotFoundError(PalaverError):
    """There is no such session for whoever asks."""

    code = "session_not_found"
    http_status = 404


class ChatClientError(PalaverError):
    """A chat client could not finish its stream."""

    code = "chat_client"
    http_status = 502


class JobError(PalaverError):
    """The job could not be completed."""

    code = "job_error"


class JobNotFoundError(JobError):
    """There is no such job."""

    code = "job_not_found"
    http_status = 404


class JobNotFinishedError(JobError):
    """The job has not finished yet."""

    code = "job_not_finished"
    retryable = True
    http_status = 409


class JobLostError(JobError):
    """The job was lost when Redis lost acknowledged writes; submit it again."""

    code = "job_lost"
    http_status = 410


class JobCancelledError(JobError):
    """The job was cancelled."""

    code = "job_cancelled"
    http_status = 409


class JobExpiredError(JobError):
    """The job did not finish before its deadline."""

    code = "job_expired"
    http_status = 504


class JobPoisonedError(JobError):
    """The job was given up: the workers that ran it died one after another."""

    code = "job_poisoned"


class WaitTimeoutError(JobError, builtins.TimeoutError):
    """The wait for the job ended; the job itself goes on."""

    code = "wait_timeout"
    retryable = True
    http_status = 504


class ChatIncompleteResponseError(JobError):
    """The answer was still truncated after the last continue.

    `final_result` is the `ChatResponse` so far: what is given here (its JSON form once it has travelled),
    else the `response` of a job's error, which the ledger holds once. Counts as of the last try.
    """

    code = "incomplete_response"
    http_status = 502
    fields = (*JobError.fields, "final_result", "continue_count", "max_continues")

    def __init__(
        self,
        message: str | None = None,
        *,
        final_result: Any = None,
        continue_count: int = 0,
        max_continues: int = 0,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.final_result = final_result
        self.continue_count, self.max_continues = continue_count, max_continues

    @property
    def final_result(self) -> Any:
        """The answer as far as it goes."""
        return self.__dict__.get("final_result") or self.response

    @final_result.setter
    def final_result(self, result: Any) -> None:
        self.__dict__["final_result"] = result


class AnswerTooLargeError(JobError):
    """The answer is larger than an answer may be.

    `response.content` is what there is of it.
    """

    code = "answer_too_large"
    http_status = 502


class StructuredOutputError(JobError):
    """The answer does not fit its schema.

    `problems` are the places in the schema that it offends; `response.content` is the answer as it came.
    """

    code = "structured_output"
    http_status = 502
    fields = (*JobError.fields, "problems", "repairs")

    def __init__(
        self,
        message: str | None = None,
        *,
        problems: Sequence[str] = (),
        repairs: int = 0,
        **context: Any,
    ) -> None:
        super().__init__(message, **context)
        self.problems, self.repairs = list(problems), repairs


class AgentError(JobError):
    """The agent failed."""

    code = "agent_failed"


class LeaseError(JobError):
    """The ledger refused a worker's write."""

    code = "lease"
    http_status = 409


class FencedError(LeaseError):
    """Another attempt has taken the job over."""

    code = "fenced"


class JobEndedError(LeaseError):
    """The job has already ended."""

    code = "job_ended"


class JobGoneError(LeaseError):
    """The ledger no longer has the job."""

    code = "job_gone"
    http_status = 404


class SequenceGapError(LeaseError):
    """Writes before this one are missing in the ledger.

    `last_taken` is the sequence number of the last that it has.
    """

    code = "sequence_gap"
    fields = (*LeaseError.fields, "last_taken")

    def __init__(self, message: str | None = None, *, last_taken: int = 0, **context: Any) -> None:
        super().__init__(message, **context)
        self.last_taken = last_taken
