"""When to ask a provider, and when again; how to go on with a partial answer; what a session remembers.

Decisions are pure. `asking` puts those about single requests between the runner and its providers.
"""

from palaver.workers.policies.asking import Ask, Breakers, Policy, wrapped
from palaver.workers.policies.breaker import State
from palaver.workers.policies.fitting import Room, answer_tokens, fitted, room_for
from palaver.workers.policies.history import additions
from palaver.workers.policies.resume import Beginning, begin
from palaver.workers.policies.retry import (
    PATIENCE,
    Again,
    Failure,
    GiveUp,
    Tries,
    after_failure,
    pass_over,
)

__all__ = [
    "PATIENCE",
    "Again",
    "Ask",
    "Beginning",
    "Breakers",
    "Failure",
    "GiveUp",
    "Policy",
    "Room",
    "State",
    "Tries",
    "additions",
    "after_failure",
    "answer_tokens",
    "begin",
    "fitted",
    "pass_over",
    "room_for",
    "wrapped",
]
