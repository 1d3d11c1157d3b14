"""The abstract of what a session's history no longer sends. Pure.

It is a message of the history: a system message that names the job up to whose answer it reaches. What it
covers stays in the session, for whoever reads that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from palaver.shared.messages import Message, Role

__all__ = ["Abstract", "reach", "recalled", "summary_request", "transcript"]

UNTIL: Final = "abstract_until"

INSTRUCTION: Final = (
    "You keep the memory of a conversation. Write what is worth knowing later of the part that follows, and "
    "of the abstract before it if there is one: names, facts, wishes, decisions, open questions. Be brief, "
    "use the language of the conversation, and write nothing else."
)


@dataclass(frozen=True, slots=True)
class Abstract:
    """What was said up to the answer of the job `until`."""

    text: str = field(repr=False)
    until: str

    def message(self) -> Message:
        """As the session remembers it."""
        return Message(role=Role.SYSTEM, content=self.text, metadata={UNTIL: self.until})

    def words(self) -> str:
        """As a model is told of it."""
        return f"Abstract of the conversation before:\n{self.text}"


def recalled(history: Sequence[Message]) -> tuple[Abstract | None, list[Message]]:
    """The last abstract of a session's history, and the messages that it does not cover."""
    abstracts = [message for message in history if UNTIL in (message.metadata or {})]
    rest = [message for message in history if UNTIL not in (message.metadata or {})]
    if not abstracts:
        return None, rest
    last = Abstract(abstracts[-1].text, str((abstracts[-1].metadata or {})[UNTIL]))
    covered = [place for place, message in enumerate(rest) if _job(message) == last.until]
    return last, rest[covered[-1] + 1 :] if covered else rest


def reach(messages: Sequence[Message]) -> str | None:
    """The last job whose answer is among the messages."""
    return next((job for message in reversed(messages) if (job := _job(message)) is not None), None)


def summary_request(
    before: Abstract | None, messages: Sequence[Message], most_bytes: int | None
) -> list[Message]:
    """What asks for the abstract of these messages and of the one before; of a text too long the end."""
    text = transcript(messages)
    if most_bytes is not None:
        text = text.encode()[-most_bytes:].decode(errors="ignore") if most_bytes else ""
    if before is not None:
        text = f"Abstract so far:\n{before.text}\n\n{text}"
    return [Message(role=Role.SYSTEM, content=INSTRUCTION), Message(role=Role.USER, content=text)]


def transcript(messages: Sequence[Message]) -> str:
    """The messages as a text: who said what."""
    return "\n".join(f"{message.role.value}: {message.text}" for message in messages if message.text)


def _job(message: Message) -> str | None:
    job = (message.metadata or {}).get("job_id")
    return job if isinstance(job, str) else None
