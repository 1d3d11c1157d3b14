"""Every transition of the ledger as a pure function from keys and arguments to an Operation."""

from palaver.shared.ledger.operations.caching import (
    ALONE,
    FAILED,
    STORED,
    enter_cache,
    keep_answer,
    leave_cache,
)
from palaver.shared.ledger.operations.ending import cancel, expire
from palaver.shared.ledger.operations.probing import answer_probe, probe_answer
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
from palaver.shared.ledger.operations.sealing import keep_profile, sealed_profile
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
    save_entry,
)

__all__ = [
    "ALONE",
    "APPEND_CONSTANT",
    "APPEND_FIXED",
    "FAILED",
    "POISONED_AFTER",
    "STORED",
    "announce",
    "announced",
    "answer_probe",
    "append",
    "cancel",
    "claim",
    "due",
    "enter_cache",
    "events",
    "expire",
    "find",
    "finish",
    "keep_answer",
    "keep_profile",
    "leave_cache",
    "log_bounds",
    "look",
    "messages",
    "new_messages",
    "note_failures",
    "probe_answer",
    "refuse",
    "release",
    "renew",
    "save_entry",
    "sealed_profile",
    "seq",
    "session_of",
    "settle",
    "snapshot",
    "submit",
    "take_turn",
    "unended",
    "withdraw",
]
