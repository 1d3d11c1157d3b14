"""Decisions without I/O: when to ask again, how to go on with a partial answer, what a session remembers."""

from palaver.workers.policies.history import additions
from palaver.workers.policies.resume import Beginning, begin
from palaver.workers.policies.retry import Again, Failure, GiveUp, Tries, after_failure

__all__ = ["Again", "Beginning", "Failure", "GiveUp", "Tries", "additions", "after_failure", "begin"]
