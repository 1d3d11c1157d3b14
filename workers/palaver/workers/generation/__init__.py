"""What happens between the requests of one job. See README.md."""

from palaver.workers.generation.completion import continue_delay
from palaver.workers.generation.journal import Called, Continued, Entry, Journal, Reply, Result
from palaver.workers.generation.steps import AskModel, Done, GoOn, Keep, Step, after_failure, next_step

__all__ = [
    "AskModel",
    "Called",
    "Continued",
    "Done",
    "Entry",
    "GoOn",
    "Journal",
    "Keep",
    "Reply",
    "Result",
    "Step",
    "after_failure",
    "continue_delay",
    "next_step",
]
