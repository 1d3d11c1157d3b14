"""What a job does next, from what its journal holds and what its last request was answered. Pure; the runner
carries it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from palaver.shared.errors import (
    ChatIncompleteResponseError,
    MalformedStreamError,
    PalaverError,
    StructuredOutputError,
)
from palaver.shared.jobs import Chain, ChatJob, Completion, FinishReason
from palaver.shared.messages import ToolCall
from palaver.shared.response_schema import AnswerSchema, Problem
from palaver.workers.generation.chain import prompt_of, step_name
from palaver.workers.generation.journal import Called, Journal, Rejected, Reply, Stepped
from palaver.workers.generation.kit import Kit

__all__ = ["AskModel", "Done", "GoOn", "Keep", "RunTools", "Step", "after_failure", "next_step"]


@dataclass(frozen=True, slots=True)
class AskModel:
    """Ask a model; without `may_call` it is to answer without tools, because the rounds are spent. With
    `thinks` it is asked for a step of a chain.
    """

    may_call: bool = True
    thinks: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """Store what came, before anything follows from it."""

    entry: Called | Rejected | Stepped


@dataclass(frozen=True, slots=True)
class RunTools:
    """Run these calls, and store their results."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class GoOn:
    """Store a truncated reply, and ask the model to go on with it: the `count`-th time, from 1."""

    reply: Reply
    count: int
    complete: Completion


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing follows. The job ends with `error`, or completed; then `cut` says why something is missing, and
    `parsed` is the value of an answer with a schema.
    """

    error: PalaverError | None = None
    cut: PalaverError | None = None
    parsed: Any = None


Step: TypeAlias = AskModel | Keep | RunTools | GoOn | Done


def next_step(
    job: ChatJob,
    kit: Kit,
    journal: Journal,
    reply: Reply | None = None,
    schema: AnswerSchema | None = None,
) -> Step:
    """The step after `reply`, the answer to a request that is not in the journal yet; without one, after the
    journal's last entry, as at the job's beginning and after a takeover. `schema` is the job's, ready to
    check.
    """
    if reply is None:
        return _after_entry(job, kit, journal)
    if job.chain is not None:
        steps = journal.steps < len(job.chain.steps)
        if not (journal.begun + reply.text).strip() and (steps or not reply.calls):
            return Done(_nothing_said(job.chain, journal))
        if steps:
            return Keep(_stepped(job.chain, journal, reply))
    if reply.calls:
        return Keep(Called(reply=reply))
    if reply.finish_reason is FinishReason.LENGTH and job.complete is not None:
        if journal.continues < job.complete.max_continues:
            return GoOn(reply, journal.continues + 1, job.complete)
        if job.complete.ensure_complete:
            return Done(_incomplete(journal.continues, job.complete.max_continues))
    return Done() if schema is None else _checked(job, journal, reply, schema)


def after_failure(job: ChatJob, journal: Journal, step: Step, error: PalaverError) -> Done:
    """How a job ends of which a step has failed for good: a continue may settle for what there is."""
    if job.chain is not None and isinstance(step, AskModel):
        _name_step(job.chain, journal, error)
    settles = job.complete is not None and job.complete.on_error == "return_partial"
    if settles and (journal.continues or isinstance(step, GoOn)):
        return Done(cut=error)
    return Done(error)


def _after_entry(job: ChatJob, kit: Kit, journal: Journal) -> Step:
    if job.chain is not None and journal.steps < len(job.chain.steps):
        return AskModel(may_call=False, thinks=True)
    calls, last = journal.open_calls, journal.last
    here = tuple(call for call in calls if kit.answers(call))
    filtered = last is not None and last.finish_reason is FinishReason.CONTENT_FILTER
    if here and journal.tool_rounds <= kit.rounds and not filtered:
        return RunTools(here)
    if calls:
        return Done()  # for whoever submitted the job to answer
    return AskModel(may_call=journal.tool_rounds < kit.rounds)


def _stepped(chain: Chain, journal: Journal, reply: Reply) -> Stepped:
    done = journal.steps + 1
    prompt = prompt_of(chain, done)
    thought = reply.reasoning or ""
    told = reply.model_copy(update={"reasoning": None, "calls": []})
    return Stepped(reply=told, thought=thought, prompt=prompt, count=done, most=len(chain.steps))


def _nothing_said(chain: Chain, journal: Journal) -> PalaverError:
    error = MalformedStreamError("the model said nothing")
    _name_step(chain, journal, error)
    return error


def _name_step(chain: Chain, journal: Journal, error: PalaverError) -> None:
    """Say of an error which request of the chain it ended; by its number, for its words are content."""
    name, error.param = step_name(chain, journal.steps)
    error.args = (f"{name}: {error.message}", *error.args[1:])


def _checked(job: ChatJob, journal: Journal, reply: Reply, schema: AnswerSchema) -> Step:
    """Whether the answer fits; one that does not is asked for again, while repairs are left."""
    if reply.finish_reason is FinishReason.CONTENT_FILTER:
        return Done(StructuredOutputError("The provider's filter has stopped the answer; it does not fit."))
    parsed, problems = schema.read(journal.begun + reply.text)
    if not problems:
        return Done(parsed=parsed)
    most = job.response_schema.repairs if job.response_schema is not None else 0
    if journal.repairs >= most:
        return Done(_unfit(problems, journal.repairs))
    count = journal.repairs + 1
    return Keep(Rejected(reply=reply, prompt=_correction(problems), count=count, most=most))


def _correction(problems: list[Problem]) -> str:
    told = "\n".join(f"- {problem.told}" for problem in problems)
    return (
        f"That answer does not fit the JSON Schema that was asked for:\n{told}\n"
        "Answer again with the corrected JSON, and with nothing else."
    )


def _unfit(problems: list[Problem], repairs: int) -> StructuredOutputError:
    places = [problem.place for problem in problems]
    asked = f", also after {repairs} of {repairs} repairs" if repairs else ""
    told = f"The answer does not fit its schema{asked}: {'; '.join(places[:3])}"
    return StructuredOutputError(told, problems=places, repairs=repairs)


def _incomplete(count: int, most: int) -> ChatIncompleteResponseError:
    return ChatIncompleteResponseError(
        f"The answer was still truncated after {count} of {most} continues.",
        continue_count=count,
        max_continues=most,
    )
