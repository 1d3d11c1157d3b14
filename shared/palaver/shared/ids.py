"""The ids of sessions and jobs: what may be one, and how fresh ones are made."""

import hashlib
import re
import secrets
from functools import partial
from typing import Annotated, Final, TypeGuard

import uuid_utils
from pydantic import BeforeValidator, Field

from palaver.shared.plain import Text, refuse, shape

SESSION_ID: Final = r"[A-Za-z0-9._:-]{1,128}"
# No colon: a job id is followed by ":text" and the like in ledger keys.
JOB_ID: Final = r"[A-Za-z0-9._-]{1,128}"

_SESSION_ID = re.compile(SESSION_ID)
_JOB_ID = re.compile(JOB_ID)
_KEY_SESSION = re.compile(r"key-[0-9a-f]{40}")


def valid_session_id(value: object) -> TypeGuard[str]:
    """Whether the value can name a session: it becomes part of Redis keys and of a channel's name."""
    # fullmatch, because "$" also matches before a trailing newline
    return isinstance(value, str) and _SESSION_ID.fullmatch(value) is not None


def valid_job_id(value: object) -> TypeGuard[str]:
    """Whether the value can name a job. Ours are UUIDv7; other producers may bring their own."""
    return isinstance(value, str) and _JOB_ID.fullmatch(value) is not None


def check_session_id(value: object, *, param: str = "session_id") -> str:
    """The value, if it can name a session. Raises ValidationError naming `param`."""
    if not valid_session_id(value):
        refuse(
            param,
            f"must be 1 to 128 letters, digits, dots, underscores, colons or hyphens, not {shape(value)}",
        )
    return value


def check_job_id(value: object, *, param: str = "job_id") -> str:
    """The value, if it can name a job. Raises ValidationError naming `param`."""
    if not valid_job_id(value):
        refuse(param, f"must be 1 to 128 letters, digits, dots, underscores or hyphens, not {shape(value)}")
    return value


# Without a name of their own: a document says which of its fields is wrong.
SessionId = Annotated[
    Text,
    BeforeValidator(partial(check_session_id, param="")),
    Field(json_schema_extra={"pattern": f"^{SESSION_ID}$"}),
]
JobId = Annotated[
    Text,
    BeforeValidator(partial(check_job_id, param="")),
    Field(json_schema_extra={"pattern": f"^{JOB_ID}$"}),
]


def new_job_id() -> str:
    """A fresh UUIDv7: unique, and ordered by the time of its making."""
    return str(uuid_utils.uuid7())


def new_session_id() -> str:
    """A fresh session id, for a job whose caller named no session."""
    return str(uuid_utils.uuid7())


def new_token() -> str:
    """128 random bits: the name under which one claim or one submit may be repeated."""
    return secrets.token_hex(16)


def session_for(tenant: str | None, idempotency_key: str) -> str:
    """The session of a job that has an idempotency key and no session: equal keys must meet in one place."""
    # The length prefix keeps ("a", "bc") and ("ab", "c") apart.
    owner = tenant or ""
    digest = hashlib.sha256(f"{len(owner)}:{owner}{idempotency_key}".encode()).hexdigest()
    return f"key-{digest[:40]}"


def is_key_session(session_id: str) -> bool:
    """Whether only an idempotency key may have a session of this name begin: whoever guesses a key could
    else take the name before its tenant does.
    """
    return _KEY_SESSION.fullmatch(session_id) is not None
