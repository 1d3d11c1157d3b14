"""The session ledger in Redis:

the truth about every job. The README beside this file has the keys and rules.
"""

from palaver.shared.ledger import operations
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query, Retention, reply_error
from palaver.shared.ledger.replies import (
    Appended,
    Cancelled,
    Claimed,
    Dispatch,
    Expired,
    Finished,
    NotClaimed,
    Refused,
    Released,
    Renewed,
    Stored,
    Submitted,
)
from palaver.shared.ledger.scripts import Script, load, script_names

__all__ = [
    "Appended",
    "Cancelled",
    "Claimed",
    "Command",
    "Dispatch",
    "Expired",
    "Finished",
    "Keys",
    "NotClaimed",
    "Operation",
    "Query",
    "Refused",
    "Released",
    "Renewed",
    "Retention",
    "Script",
    "Stored",
    "Submitted",
    "load",
    "operations",
    "reply_error",
    "script_names",
]
