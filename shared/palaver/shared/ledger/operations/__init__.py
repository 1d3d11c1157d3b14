"""Every transition of the ledger as a pure function from keys and arguments to an Operation."""

from palaver.shared.ledger.operations.ending import cancel, expire
from palaver.shared.ledger.operations.submitting import new_messages, refuse, session_of, submit
from palaver.shared.ledger.operations.working import (
    APPEND_CONSTANT,
    APPEND_FIXED,
    append,
    claim,
    finish,
    note_failures,
    release,
    renew,
    save_round,
)

__all__ = [
    "APPEND_CONSTANT",
    "APPEND_FIXED",
    "append",
    "cancel",
    "claim",
    "expire",
    "finish",
    "new_messages",
    "note_failures",
    "refuse",
    "release",
    "renew",
    "save_round",
    "session_of",
    "submit",
]
