"""Every transition of the ledger as a pure function from keys and arguments to an Operation.

Names are loaded at first use.
"""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.shared.ledger.operations.access import (
        SessionOwner,
        api_keys,
        drop_api_key,
        keep_api_key,
        session_owners,
        some_api_keys,
        throttle,
    )
    from palaver.shared.ledger.operations.agents import keep_context
    from palaver.shared.ledger.operations.batch_driving import (
        batch_parts,
        claim_lines,
        end_batch,
        flush_results,
        gather_results,
        leave_batch,
        note_results,
        renew_driver,
    )
    from palaver.shared.ledger.operations.batch_keeping import (
        batch_removed,
        batches_of,
        forget_batch,
        take_stored_batches,
        unlist_batch,
    )
    from palaver.shared.ledger.operations.batches import batch, batch_results, cancel_batch, open_batch
    from palaver.shared.ledger.operations.budgeting import OneMore, spend, spent_in_month
    from palaver.shared.ledger.operations.caching import (
        ALONE,
        FAILED,
        STORED,
        enter_cache,
        keep_answer,
        leave_cache,
        look_in_cache,
    )
    from palaver.shared.ledger.operations.conversing import (
        archived,
        drop_stored,
        keep_session,
        kept_in,
        list_session,
        listed,
        open_session,
        prolong,
        put_off,
        session,
        sessions,
        set_status,
        store_messages,
        stored_messages,
        take_archivers_turn,
        unarchived_among,
        unarchived_jobs,
        unarchived_sessions,
        unlist,
    )
    from palaver.shared.ledger.operations.ending import cancel, expire
    from palaver.shared.ledger.operations.gating import (
        NO_TOKENS,
        Line,
        Size,
        close_gate,
        enter_gate,
        keep_places,
        leave_gate,
        pump_gate,
        tenant_gate,
        user_line,
        where_at_gate,
    )
    from palaver.shared.ledger.operations.pausing import (
        drain_notice,
        pause_profile,
        pauses,
        resume_profile,
    )
    from palaver.shared.ledger.operations.probing import answer_probe, probe_answer
    from palaver.shared.ledger.operations.reading import (
        announce,
        announced,
        events,
        find,
        is_named,
        log_bounds,
        messages,
        seq,
        seqs,
        snapshot,
        time,
        unended,
        withdraw,
    )
    from palaver.shared.ledger.operations.readying import (
        Start,
        note_begun,
        takes_turns,
        wait_no_more,
        where_ready,
    )
    from palaver.shared.ledger.operations.sealing import keep_profile, sealed_profile
    from palaver.shared.ledger.operations.submitting import new_messages, refuse, session_of, submit
    from palaver.shared.ledger.operations.sweeping import POISONED_AFTER, due, look, settle, take_turn
    from palaver.shared.ledger.operations.tables import announce_bounds, announced_bounds
    from palaver.shared.ledger.operations.watching import send_canaries, take_canary, vigil, write_nothing
    from palaver.shared.ledger.operations.webhooks import (
        forget_webhook,
        put_off_webhook,
        take_webhooks,
        webhook_of,
        webhook_stands,
    )
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

_HOMES: Final = {
    "access": "SessionOwner api_keys drop_api_key keep_api_key session_owners some_api_keys throttle",
    "agents": "keep_context",
    "batch_driving": (
        "batch_parts claim_lines end_batch flush_results gather_results leave_batch note_results renew_driver"
    ),
    "batch_keeping": "batch_removed batches_of forget_batch take_stored_batches unlist_batch",
    "batches": "batch batch_results cancel_batch open_batch",
    "budgeting": "OneMore spend spent_in_month",
    "caching": "ALONE FAILED STORED enter_cache keep_answer leave_cache look_in_cache",
    "conversing": (
        "archived drop_stored keep_session kept_in list_session listed open_session prolong put_off session "
        "sessions set_status store_messages stored_messages take_archivers_turn unarchived_among "
        "unarchived_jobs unarchived_sessions unlist"
    ),
    "ending": "cancel expire",
    "gating": (
        "NO_TOKENS Line Size close_gate enter_gate keep_places leave_gate pump_gate tenant_gate "
        "user_line where_at_gate"
    ),
    "pausing": "drain_notice pause_profile pauses resume_profile",
    "probing": "answer_probe probe_answer",
    "reading": (
        "announce announced events find is_named log_bounds messages seq seqs snapshot time unended withdraw"
    ),
    "readying": "Start note_begun takes_turns wait_no_more where_ready",
    "sealing": "keep_profile sealed_profile",
    "submitting": "new_messages refuse session_of submit",
    "sweeping": "POISONED_AFTER due look settle take_turn",
    "tables": "announce_bounds announced_bounds",
    "watching": "send_canaries take_canary vigil write_nothing",
    "webhooks": "forget_webhook put_off_webhook take_webhooks webhook_of webhook_stands",
    "working": "APPEND_CONSTANT APPEND_FIXED append claim finish note_failures release renew save_entry",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "ALONE",
    "APPEND_CONSTANT",
    "APPEND_FIXED",
    "FAILED",
    "NO_TOKENS",
    "POISONED_AFTER",
    "STORED",
    "Line",
    "OneMore",
    "SessionOwner",
    "Size",
    "Start",
    "announce",
    "announce_bounds",
    "announced",
    "announced_bounds",
    "answer_probe",
    "api_keys",
    "append",
    "archived",
    "batch",
    "batch_parts",
    "batch_removed",
    "batch_results",
    "batches_of",
    "cancel",
    "cancel_batch",
    "claim",
    "claim_lines",
    "close_gate",
    "drain_notice",
    "drop_api_key",
    "drop_stored",
    "due",
    "end_batch",
    "enter_cache",
    "enter_gate",
    "events",
    "expire",
    "find",
    "finish",
    "flush_results",
    "forget_batch",
    "forget_webhook",
    "gather_results",
    "is_named",
    "keep_answer",
    "keep_api_key",
    "keep_context",
    "keep_places",
    "keep_profile",
    "keep_session",
    "kept_in",
    "leave_batch",
    "leave_cache",
    "leave_gate",
    "list_session",
    "listed",
    "log_bounds",
    "look",
    "look_in_cache",
    "messages",
    "new_messages",
    "note_begun",
    "note_failures",
    "note_results",
    "open_batch",
    "open_session",
    "pause_profile",
    "pauses",
    "probe_answer",
    "prolong",
    "pump_gate",
    "put_off",
    "put_off_webhook",
    "refuse",
    "release",
    "renew",
    "renew_driver",
    "resume_profile",
    "save_entry",
    "sealed_profile",
    "send_canaries",
    "seq",
    "seqs",
    "session",
    "session_of",
    "session_owners",
    "sessions",
    "set_status",
    "settle",
    "snapshot",
    "some_api_keys",
    "spend",
    "spent_in_month",
    "store_messages",
    "stored_messages",
    "submit",
    "take_archivers_turn",
    "take_canary",
    "take_stored_batches",
    "take_turn",
    "take_webhooks",
    "takes_turns",
    "tenant_gate",
    "throttle",
    "time",
    "unarchived_among",
    "unarchived_jobs",
    "unarchived_sessions",
    "unended",
    "unlist",
    "unlist_batch",
    "user_line",
    "vigil",
    "wait_no_more",
    "webhook_of",
    "webhook_stands",
    "where_at_gate",
    "where_ready",
    "withdraw",
    "write_nothing",
]

__getattr__, __dir__ = _lazily(__name__, _HOME_OF)
