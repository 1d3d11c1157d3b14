"""A claimed job, read and checked, and what a provider is asked for it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from palaver.shared.document import Document
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import ChatJob, Timeouts
from palaver.shared.ledger import Claimed
from palaver.shared.messages import Message, Part, Role, TextPart
from palaver.shared.params import ChatParams
from palaver.shared.response_schema import AnswerSchema
from palaver.shared.token_estimate import tokens_of
from palaver.shared.tools import ToolChoice
from palaver.workers.files.attachments import attach
from palaver.workers.generation import Abstract, Journal, Kit, answered, opening, recalled
from palaver.workers.policies import Beginning, fitted, room_for
from palaver.workers.providers import Asker, Caching, GenerationRequest

__all__ = ["asker", "fit", "line_work", "read_job", "request_for"]

_SYSTEM = (Role.SYSTEM, Role.DEVELOPER)


@dataclass(frozen=True, slots=True)
class Work:
    """A job and the conversation before it."""

    job: ChatJob
    history: list[Message]
    session_id: str = ""
    kit: Kit = field(default_factory=Kit)  # its tools here
    abstract: Abstract | None = None  # of what was said before the history
    attached: list[Part] = field(default_factory=list)  # what its files have become
    schema: AnswerSchema | None = None  # its `response_schema`, ready to check an answer
    is_line: bool = False  # of a batch


def read_job(claimed: Claimed, *, max_bytes: int) -> Work:
    """The job as it was stored, validated again: another program, or an older one, may have stored it.

    Raises ValidationError naming the field.
    """
    job = ChatJob.parse(claimed.job, max_bytes=max_bytes)
    for document in (job, *job.messages):
        _share_names(document)
    schema = _schema(job)
    if isinstance(job.history, list):
        return Work(job, job.history, claimed.session_id, schema=schema)
    abstract, history = recalled([Message.model_validate_json(message) for message in claimed.history])
    history = answered(history, job.messages)
    return Work(job, history, claimed.session_id, abstract=abstract, schema=schema)


def _share_names(document: Document) -> None:
    """Let it have the set of its fields in common with all that have the same: one of its own is a third of a
    small document, and is kept for as long as the stream lasts.
    """
    names = _same_names(frozenset(document.model_fields_set))
    object.__setattr__(document, "__pydantic_fields_set__", names)  # a job is frozen


@lru_cache(maxsize=1_000)
def _same_names(names: frozenset[str]) -> set[str]:
    return set(names)


def line_work(job: ChatJob, batch_id: str) -> Work:
    """A line of a batch. Raises ValidationError for one that no line can be."""
    if job.history == "session" or job.agent is not None:
        param = "agent" if job.agent is not None else "history"
        raise ValidationError("a line of a batch has no session, and no agent to answer it", param=param)
    history = job.history if isinstance(job.history, list) else []
    return Work(job, history, batch_id, schema=_schema(job), is_line=True)


def _schema(job: ChatJob) -> AnswerSchema | None:
    return None if job.response_schema is None else AnswerSchema(job.response_schema.json_schema)


def request_for(
    work: Work,
    journal: Journal,
    model: str,
    beginning: Beginning,
    *,
    may_call: bool = True,
    thinks: bool = False,
    instruct: bool = False,
    may_move: bool = False,
) -> GenerationRequest:
    """What the provider is asked: system, history, messages, what the job has done since, and how to go on
    with what is already there. With `instruct` the answer's schema is among the system's words; what the
    model only `thinks`, a step of a chain, has none. With `may_move` there is another model to ask at once.
    """
    job = work.job
    messages = [*_conversation(work, instruct=instruct), *journal.messages]
    if beginning.prompt is not None:
        messages.append(Message(role=Role.ASSISTANT, content=beginning.said))
        messages.append(Message(role=Role.USER, content=beginning.prompt))
    return GenerationRequest(
        model=model,
        messages=messages,
        params=_params(job, thinks=thinks),
        tools=work.kit.definitions,
        tool_choice=_tool_choice(work, journal, may_call),
        parallel_tool_calls=job.parallel_tool_calls,
        reasoning=job.reasoning,
        timeouts=None if job.timeouts == Timeouts() else job.timeouts,
        prefix=beginning.said if beginning.prompt is None and beginning.said else None,
        # Several answers come in one body only, and so does what `return_raw` is to keep.
        stream=(job.params.n or 1) == 1 and not job.params.return_raw,
        cache=_caching(job),
        asker=asker(work, may_move=may_move, goes_on=bool(len(journal) or beginning.said)),
    )


def asker(work: Work, *, may_move: bool = False, goes_on: bool = False) -> Asker:
    """For whom the work's requests are made."""
    return Asker(
        session_id=work.session_id,
        job_id=work.job.job_id,
        tenant=work.job.tenant or "",
        is_line=work.is_line,
        may_move=may_move,
        goes_on=goes_on,
    )


def fit(work: Work, journal: Journal, context: int | None, *, part: float = 1.0) -> Work:
    """The work with as much of its history as its limits, and a model's context of so many tokens, have room
    for; or a `part` of that room.
    """
    if not work.history or (context is None and work.job.history_limit is None):
        return work
    leading, history = _apart(work.history)
    sent = [*_conversation(replace(work, history=leading), instruct=True), *journal.messages]
    room = room_for(work.job, context, tokens_of(sent, work.kit.definitions or ()))
    answers = bool(work.job.messages) and work.job.messages[0].role is Role.TOOL
    return replace(work, history=[*leading, *fitted(history, room.times(part), keep_last=answers)])


def _caching(job: ChatJob) -> Caching | None:
    if job.cache is None:
        return None
    return Caching(tenant=job.tenant, ttl=job.cache.ttl, only=job.cache.only)


def _tool_choice(work: Work, journal: Journal, may_call: bool) -> ToolChoice | None:
    """What the job wants; but a call that it demands is demanded once, or the rounds would never end."""
    if work.kit.definitions and not may_call:
        return ToolChoice(mode="none")
    choice = work.kit.choice(work.job.tool_choice)
    return None if choice is not None and choice.demands and journal.tool_rounds else choice


def _params(job: ChatJob, *, thinks: bool) -> ChatParams:
    params = job.params if job.mode is None else job.mode.over(job.params)
    if job.response_schema is None or thinks:
        return params
    return params.model_copy(update={"response_format": job.response_schema.response_format()})


def _conversation(work: Work, *, instruct: bool) -> list[Message]:
    """History and messages behind one system message at most: many providers refuse a second, or one in the
    middle. What the job says, as `system` and at the beginning of its messages, replaces the history's.
    """
    job = work.job
    of_history, history = _apart(work.history)
    of_messages, messages = _apart(attach(job.messages, work.attached))
    said = [Message(role=Role.SYSTEM, content=job.system)] if job.system else []
    words = [work.abstract.words()] if work.abstract is not None else []
    if instruct and job.response_schema is not None:
        words.append(job.response_schema.instruction())
    asked = [Message(role=Role.SYSTEM, content=text) for text in words]
    steps = [Message(role=Role.USER, content=opening(job.chain))] if job.chain is not None else []
    return [*_joined([*([*said, *of_messages] or of_history), *asked]), *history, *messages, *steps]


def _apart(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """The system messages at the beginning, and the rest."""
    leading = list(itertools.takewhile(lambda message: message.role in _SYSTEM, messages))
    return leading, list(messages[len(leading) :])


def _joined(system: list[Message]) -> list[Message]:
    if len(system) < 2:
        return system
    if all(isinstance(message.content, str) for message in system):
        return [Message(role=Role.SYSTEM, content="\n\n".join(message.text for message in system))]
    parts: list[Part] = []
    for message in system:
        parts += (
            message.content
            if isinstance(message.content, list)
            else [TextPart(type="text", text=message.text)]
        )
    return [Message(role=Role.SYSTEM, content=parts)]
