"""The cache of answers: who asks, who waits for whom, and what is kept. A digest stands for a request."""

from typing import Any, Final

from palaver.shared.jobs import MAX_DEADLINE
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, milliseconds, reply_error, text
from palaver.shared.ledger.replies import Follow, Hit, Lead
from palaver.shared.ledger.scripts import load

STORED: Final = b"stored"
"""To those who follow: the answer is there."""
FAILED: Final = b"failed"
"""The one who led has failed: another one may lead."""
ALONE: Final = b"alone"
"""The answer was none to be shared: each asks by itself."""


def enter_cache(keys: Keys, digest: str, *, token: str, lease: float) -> Operation[Hit | Lead | Follow]:
    """Ask for an answer, or for the right to lead for `lease` seconds. Repeated by who leads, it keeps that
    right.
    """

    def decode(raw: Any) -> Hit | Lead | Follow:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        match text(raw[0]):
            case "hit":
                return Hit(raw[1])
            case "lead":
                return Lead()
        return Follow(max(0, int(raw[1])) / 1000)

    args = (token, milliseconds(lease))
    return Operation(script=load("cache_enter"), keys=(keys.answer(digest),), args=args, decode=decode)


def look_in_cache(keys: Keys, digest: str) -> Operation[bytes | None]:
    """Look for an answer, and wait for none."""

    def decode(raw: Any) -> bytes | None:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        answer: bytes | None = raw[1] if text(raw[0]) == "hit" else None
        return answer

    return Operation(script=load("cache_enter"), keys=(keys.answer(digest),), args=("", 1), decode=decode)


def leave_cache(
    keys: Keys, digest: str, *, token: str, word: bytes, answer: bytes = b"", ttl: float = 1.0
) -> Operation[None]:
    """Give up the lead with this word to those who follow, and keep the answer, if any, for `ttl` seconds.

    Raises LedgerFullError if there is no memory for the answer.
    """
    args = (token, word, milliseconds(ttl), answer)
    return Operation(script=load("cache_leave"), keys=(keys.answer(digest),), args=args, decode=_nothing)


def keep_answer(keys: Keys, digest: str, *, most: int) -> Operation[None]:
    """Note that this answer was used, and drop those beyond `most`, the least recently used first."""

    def after(raw: Any) -> tuple[Command, ...]:
        if isinstance(raw, Exception) or not raw:
            return ()
        return tuple(Command("UNLINK", keys.answer(text(dropped))) for dropped in raw)

    args = (digest, most, milliseconds(MAX_DEADLINE))
    return Operation(script=load("cache_keep"), keys=(keys.answers,), args=args, decode=_nothing, after=after)


def _nothing(raw: Any) -> None:
    if isinstance(raw, Exception):
        raise reply_error(raw)
