"""Which part of a history fits into a model's context. Pure.

The oldest turns are left out, each whole: a user message with all that answered it, so that no result of a
tool is without its call. Tokens are estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from palaver.shared.jobs import ChatJob
from palaver.shared.messages import Message, Role
from palaver.shared.token_estimate import tokens_of

__all__ = ["Room", "answer_tokens", "fitted", "room_for"]

MOST_ANSWER_TOKENS: Final = 4096  # kept free for an answer of no bound, but not more than …
ANSWER_PART: Final = 4  # … this part of the context


@dataclass(frozen=True, slots=True)
class Room:
    """So many tokens and messages may a history have; None: any number."""

    tokens: int | None = None
    messages: int | None = None

    def times(self, part: float) -> Room:
        """A part of it."""
        sizes = (self.tokens, self.messages)
        return Room(*(None if size is None else int(size * part) for size in sizes))


def room_for(job: ChatJob, context: int | None, others: int) -> Room:
    """What is left for the history beside the `others`, tokens that are sent in any case, in a `context` of
    so many tokens; or what the job allows, if that is less.
    """
    limit = job.history_limit
    wanted = limit.tokens if limit is not None else None
    left = None
    if context is not None:
        left = max(0, context - answer_tokens(job.params.max_tokens, context) - others)
    tokens = min((size for size in (wanted, left) if size is not None), default=None)
    return Room(tokens, limit.messages if limit is not None else None)


def answer_tokens(most: int | None, context: int | None) -> int:
    """What is to be expected of an answer, of `most` so many tokens, in a `context` of so many."""
    if most:
        return most
    return MOST_ANSWER_TOKENS if context is None else min(MOST_ANSWER_TOKENS, context // ANSWER_PART)


def fitted(history: Sequence[Message], room: Room, *, keep_last: bool = False) -> list[Message]:
    """The latest turns that have room. With `keep_last` the last one stays in any case: what follows answers
    its calls.
    """
    turns = _turns(history)
    first, count, tokens = len(turns), 0, 0
    while first:
        turn = turns[first - 1]
        tokens += tokens_of(turn)
        count += len(turn)
        fits = (room.tokens is None or tokens <= room.tokens) and (
            room.messages is None or count <= room.messages
        )
        if not fits and (first < len(turns) or not keep_last):
            break
        first -= 1
    return [message for turn in turns[first:] for message in turn]


def _turns(history: Sequence[Message]) -> list[list[Message]]:
    """Each user message with what follows it; several of a user in succession are one turn's."""
    turns: list[list[Message]] = []
    before: Role | None = None
    for message in history:
        if not turns or (message.role is Role.USER and before is not Role.USER):
            turns.append([])
        turns[-1].append(message)
        before = message.role
    return turns
