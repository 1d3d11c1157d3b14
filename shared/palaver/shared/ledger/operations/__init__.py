"""Every transition of the ledger as a pure function from keys and arguments to an Operation."""

from palaver.shared.ledger.operations.ending import cancel, expire
from palaver.shared.ledger.operations.reading import (
    announce,
    announced,
    events,
    find,
    log_bounds,
    messages,
    seq,
    snapshot,
    unended,
    withdraw,
)
from palaver.shared.ledger.operations.submitting import new_messages, refuse, session_of, submit
from palaver.shared.ledger.operations.sweeping import POISONED_AFTER, due, look, settle, take_turn
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
    "POISONED_AFTER",
    "announce",
    "announced",
    "append",
    "cancel",
    "claim",
    "due",
    "events",
    "expire",
    "find",
    "finish",
    "log_bounds",
    "look",
    "messages",
    "new_messages",
    "note_failures",
    "refuse",
    "release",
    "renew",
    "save_round",
    "seq",
    "session_of",
    "settle",
    "snapshot",
    "submit",
    "take_turn",
    "unended",
    "withdraw",
]
