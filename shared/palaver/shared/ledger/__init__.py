"""The session ledger in Redis:

the truth about every job. The README beside this file has the keys and rules.
"""

from palaver.shared.ledger import operations
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
    Stored,
    Submitted,
    Swept,
    Visited,
)
from palaver.shared.ledger.scripts import Script, load, script_names, sources
from palaver.shared.ledger.subscriptions import Inbox, Notice, Signal, Subscriptions
from palaver.shared.ledger.sync_ledger import SyncLedger
from palaver.shared.ledger.views import Announcement, DeadLetter, Gate, JobView, LogBounds, Prospect, Snapshot

__all__ = [
    "AgentSession",
    "Announcement",
    "Appended",
    "AsyncLedger",
    "BatchPage",
    "BatchStop",
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
    "Signal",
    "Snapshot",
    "Stored",
    "Submitted",
    "Subscriptions",
    "Swept",
    "SyncLedger",
    "Visited",
    "load",
    "operations",
    "reply_error",
    "script_names",
    "sources",
]
