"""The session ledger in Redis: the truth about every job. The README beside this file has keys and rules.

Names are loaded at first use: the shells bring the client of Redis, each operation what it stores.
"""

from typing import TYPE_CHECKING, Final

from palaver.shared.door import lazily as _lazily

if TYPE_CHECKING:
    from palaver.shared.ledger import operations
    from palaver.shared.ledger.admission import Bounds
    from palaver.shared.ledger.async_ledger import AsyncLedger
    from palaver.shared.ledger.batch_replies import (
        BatchPage,
        BatchStop,
        ClaimedLines,
        Gathered,
        LineResult,
        NotedResults,
        OpenedBatch,
    )
    from palaver.shared.ledger.keys import Keys
    from palaver.shared.ledger.operation import Command, Operation, Query, Retention, reply_error
    from palaver.shared.ledger.replies import (
        AgentSession,
        Appended,
        Canary,
        Cancelled,
        Claimed,
        Dispatch,
        Expired,
        Finished,
        Follow,
        HandedOut,
        Hit,
        Inspected,
        Lead,
        NotClaimed,
        Refused,
        Released,
        Renewed,
        Sendable,
        Stored,
        Submitted,
        Swept,
        Vigil,
        Visited,
    )
    from palaver.shared.ledger.scripts import Script, load, script_names, sources
    from palaver.shared.ledger.subscriptions import Inbox, Notice, Signal, Subscriptions
    from palaver.shared.ledger.sync_ledger import SyncLedger
    from palaver.shared.ledger.views import (
        Announcement,
        DeadLetter,
        Gate,
        JobView,
        LogBounds,
        Prospect,
        Snapshot,
    )

_HOMES: Final = {
    "admission": "Bounds",
    "async_ledger": "AsyncLedger",
    "batch_replies": "BatchPage BatchStop ClaimedLines Gathered LineResult NotedResults OpenedBatch",
    "keys": "Keys",
    "operation": "Command Operation Query Retention reply_error",
    "replies": (
        "AgentSession Appended Canary Cancelled Claimed Dispatch Expired Finished Follow HandedOut Hit "
        "Inspected Lead NotClaimed Refused Released Renewed Sendable Stored Submitted Swept Vigil Visited"
    ),
    "scripts": "Script load script_names sources",
    "subscriptions": "Inbox Notice Signal Subscriptions",
    "sync_ledger": "SyncLedger",
    "views": "Announcement DeadLetter Gate JobView LogBounds Prospect Snapshot",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AgentSession",
    "Announcement",
    "Appended",
    "AsyncLedger",
    "BatchPage",
    "BatchStop",
    "Bounds",
    "Canary",
    "Cancelled",
    "Claimed",
    "ClaimedLines",
    "Command",
    "DeadLetter",
    "Dispatch",
    "Expired",
    "Finished",
    "Follow",
    "Gate",
    "Gathered",
    "HandedOut",
    "Hit",
    "Inbox",
    "Inspected",
    "JobView",
    "Keys",
    "Lead",
    "LineResult",
    "LogBounds",
    "NotClaimed",
    "NotedResults",
    "Notice",
    "OpenedBatch",
    "Operation",
    "Prospect",
    "Query",
    "Refused",
    "Released",
    "Renewed",
    "Retention",
    "Script",
    "Sendable",
    "Signal",
    "Snapshot",
    "Stored",
    "Submitted",
    "Subscriptions",
    "Swept",
    "SyncLedger",
    "Vigil",
    "Visited",
    "load",
    "operations",
    "reply_error",
    "script_names",
    "sources",
]

__getattr__, __dir__ = _lazily(__name__, _HOME_OF)
