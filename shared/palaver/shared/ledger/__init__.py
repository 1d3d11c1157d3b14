"""The session ledger in Redis:

the truth about every job. The README beside this file has the keys and rules.
"""

from palaver.shared.ledger import operations
from palaver.shared.ledger.async_ledger import AsyncLedger
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
)
from palaver.shared.ledger.scripts import Script, load, script_names, sources
from palaver.shared.ledger.subscriptions import Inbox, Notice, Signal, Subscriptions
from palaver.shared.ledger.sync_ledger import SyncLedger
from palaver.shared.ledger.views import Announcement, DeadLetter, JobView, LogBounds, Snapshot

__all__ = [
    "AgentSession",
    "Announcement",
    "Appended",
    "AsyncLedger",
    "Cancelled",
    "Claimed",
    "Command",
    "DeadLetter",
    "Dispatch",
    "Expired",
    "Finished",
    "Follow",
    "Hit",
    "Inbox",
    "Inspected",
    "JobView",
    "Keys",
    "Lead",
    "LogBounds",
    "NotClaimed",
    "Notice",
    "Operation",
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
    "load",
    "operations",
    "reply_error",
    "script_names",
    "sources",
]
