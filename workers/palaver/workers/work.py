"""A claimed job, read and checked, and what a provider is asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from palaver.shared.errors import ValidationError
from palaver.shared.jobs import ChatJob, Timeouts
from palaver.shared.ledger import Claimed
from palaver.shared.messages import Message, Role
from palaver.shared.tools import ToolChoice
from palaver.workers.generation import Journal, Kit
from palaver.workers.policies import Beginning
from palaver.workers.providers import GenerationRequest

__all__ = ["UNSERVED", "read_job", "request_for"]

UNSERVED = ("cache", "files", "webhook")
"""Fields that this worker leaves out, with a warning to the readers of the job that has them."""


@dataclass(frozen=True, slots=True)
class Work:
    """A job and the conversation before it."""

    job: ChatJob
    history: list[Message]
    kit: Kit = field(default_factory=Kit)  # its tools here


def read_job(claimed: Claimed, *, max_bytes: int) -> Work:
    """The job as it was stored, validated again: another program, or an older one, may have stored it.

    Raises ValidationError naming the field.
    """
    job = ChatJob.parse(claimed.job, max_bytes=max_bytes)
    if job.agent is not None:
        raise ValidationError("agent: this worker serves no agents", param="agent", job_id=claimed.job_id)
    if isinstance(job.history, list):
        return Work(job, job.history)
    return Work(job, [Message.model_validate_json(message) for message in claimed.history])


def request_for(
    work: Work, journal: Journal, model: str, beginning: Beginning, *, may_call: bool = True
) -> GenerationRequest:
    """What the provider is asked: system, history, messages, what the job has done since, and how to go on
    with what is already there.
    """
    job = work.job
    system = [Message(role=Role.SYSTEM, content=job.system)] if job.system else []
    messages = [*system, *work.history, *job.messages, *journal.messages]
    if beginning.prompt is not None:
        messages.append(Message(role=Role.ASSISTANT, content=beginning.said))
        messages.append(Message(role=Role.USER, content=beginning.prompt))
    return GenerationRequest(
        model=model,
        messages=messages,
        params=job.params,
        tools=work.kit.definitions,
        tool_choice=_tool_choice(work, journal, may_call),
        parallel_tool_calls=job.parallel_tool_calls,
        reasoning=job.reasoning,
        # The defaults stand for "not said": then the profile's own are meant.
        timeouts=None if job.timeouts == Timeouts() else job.timeouts,
        prefix=beginning.said if beginning.prompt is None and beginning.said else None,
        stream=(job.params.n or 1) == 1,
    )


def _tool_choice(work: Work, journal: Journal, may_call: bool) -> ToolChoice | None:
    """What the job wants; but a call that it demands is demanded once, or the rounds would never end."""
    if work.kit.definitions and not may_call:
        return ToolChoice(mode="none")
    choice = work.job.tool_choice
    demands = choice is not None and choice.mode in ("required", "function")
    return None if demands and journal.tool_rounds else choice
