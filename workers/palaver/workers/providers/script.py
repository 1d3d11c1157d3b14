"""Scripts of the scripted provider: what it says, how fast, and how it fails. Pure: a request in, timed
steps out.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from palaver.shared.document import Document
from palaver.shared.errors import (
    ConnectionError,
    MalformedStreamError,
    ModelNotFoundError,
    PalaverError,
    StreamInterruptedError,
    TimeoutError,
    error_for_status,
)
from palaver.shared.jobs import FinishReason, Timeouts
from palaver.shared.messages import Message, Role
from palaver.shared.plain import Flag, Integer, JsonObject, Real, Text
from palaver.shared.responses import Usage
from palaver.workers.providers.base import GenerationRequest
from palaver.workers.providers.parts import (
    FinishPart,
    MessagePart,
    Part,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
)

DEFAULT_RATE: Final = 50.0
"""Deltas a second where neither the script nor the profile says otherwise."""

_WORD: Final = re.compile(r"\s*\S+|\s+\Z")
_NUMBER: Final = re.compile(r" w(\d+)")

Seconds = Annotated[Real, Field(ge=0, le=86400)]
Count = Annotated[Integer, Field(ge=0, le=10_000_000)]


class Failure(Document):
    """How a script fails: with an HTTP `status`, or as `kind` says, after so many deltas.

    `times`: only the first so many requests of this script fail (counted in each worker process).
    """

    kind: Literal["status", "refused", "timeout", "cut", "idle", "malformed", "error"] = "status"
    status: Annotated[Integer, Field(ge=400, le=599)] = 500
    after: Count = 0
    message: Text | None = None
    retry_after: Seconds | None = None
    times: Count | None = None

    def error(self, timeouts: Timeouts) -> PalaverError:
        """The error that a real provider's failure of this kind becomes."""
        if self.kind in ("status", "error"):
            return error_for_status(self.status, self.message, retry_after=self.retry_after)
        if self.kind == "idle":
            return TimeoutError(self.message or f"scripted: nothing came for {timeouts.read_seconds:g} s")
        return _FAILURES[self.kind](self.message)


_FAILURES: Final[dict[str, type[PalaverError]]] = {
    "refused": ConnectionError,
    "timeout": TimeoutError,
    "cut": StreamInterruptedError,
    "malformed": MalformedStreamError,
}


class ScriptedCall(Document):
    """A tool call that a script makes; without an id it gets one from its position."""

    name: Annotated[Text, Field(min_length=1)]
    arguments: JsonObject = Field(default_factory=dict)
    id: Text | None = None


class Script(Document):
    """One answer. What it says is `n` numbered words (` w0 w1 …`), `endless` ones, a `text`, a list of
    `deltas`, or the last user message once more. Times are in seconds, `rate` in deltas a second (0:
    without a pause). A job of several requests is answered by the `rounds` in turn, the last for all that
    follow: each has fields over the others. With a `signature` its reasoning is a block that is signed.
    """

    n: Count | None = None
    endless: Flag = False
    text: Text | None = None
    deltas: list[Text] | None = None
    rate: Annotated[Real, Field(ge=0, le=1_000_000)] | None = None
    start: Seconds | None = None
    reasoning: Text | None = None
    signature: Text | None = None
    tool_calls: list[ScriptedCall] = Field(default_factory=list)
    usage: Flag | JsonObject = True
    finish_reason: FinishReason | None = None
    fail: Failure | None = None
    rounds: list[JsonObject] = Field(default_factory=list)


BUILT_IN: Final[dict[str, dict[str, Any]]] = {
    "cut": {"fail": {"kind": "cut", "after": 3}},
    "echo": {},
    "endless": {"endless": True},
    "error": {"fail": {"kind": "error", "status": 503, "after": 3}},
    "idle": {"fail": {"kind": "idle", "after": 3}},
    "malformed": {"fail": {"kind": "malformed", "after": 3}},
    "numbers": {"n": 20},
    "reasoning": {"reasoning": "The user said something. I shall say it again."},
    "refused": {"fail": {"kind": "refused"}},
    "status-401": {"fail": {"status": 401}},
    "status-429": {"fail": {"status": 429, "retry_after": 1}},
    "status-500": {"fail": {"status": 500}},
    "timeout": {"fail": {"kind": "timeout"}},
    "tools": {"tool_calls": [{"name": "get_time", "arguments": {"zone": "UTC"}}]},
}
"""The scripts that every scripted profile has, by model name."""


class Step(NamedTuple):
    """Something that happens `at` seconds after the request: parts, or the failure that ends it all."""

    at: float
    outcome: list[Part] | PalaverError


def choose(request: GenerationRequest, scripts: Mapping[str, JsonObject]) -> Script:
    """The script of the request's model, with the fields of a JSON script in the user message over it.

    Raises ModelNotFoundError for an unknown name, ValidationError for a script with unknown or wrong fields.
    """
    fields = scripts.get(request.model, BUILT_IN.get(request.model))
    if fields is None:
        raise ModelNotFoundError(f"There is no script {request.model!r}.", status_code=404)
    script = Script.validated({**fields, **_fields_in(_subject(request.messages)[0])}, at="script")
    if request.tool_choice is not None and request.tool_choice.mode == "none":
        return _of_round(script, request.messages).model_copy(update={"tool_calls": []})
    return _of_round(script, request.messages)


def _of_round(script: Script, messages: list[Message]) -> Script:
    """The script for this request of its job."""
    if script.rounds:
        replies = itertools.takewhile(lambda message: not _is_subject(message), reversed(messages))
        number = sum(message.role is Role.ASSISTANT for message in replies)
        fields = script.rounds[min(number, len(script.rounds) - 1)]
        return Script.validated({**script.model_dump(), **fields}, at="script.rounds")
    if script.tool_calls and not _tool_results(messages):
        return script.model_copy(update={"text": None, "n": None, "deltas": None})  # said of the results
    return script.model_copy(update={"tool_calls": []})


def play(
    script: Script, request: GenerationRequest, *, timeouts: Timeouts, fails: bool = True
) -> Iterator[Step]:
    """What happens, in order. `fails`: whether the script's failure takes place this time."""
    fail = script.fail if fails else None
    limit = request.params.max_tokens
    period = 1 / rate if (rate := DEFAULT_RATE if script.rate is None else script.rate) else 0.0
    at = script.start or 0.0
    said = 0
    for part in _deltas(script, request):
        if fail is not None and said >= fail.after:
            break
        if limit is not None and said >= limit:
            break
        yield Step(at, [part])
        if isinstance(part, MessagePart):
            continue
        said += 1
        at += period
    if fail is not None:
        yield Step(at + (timeouts.read_seconds if fail.kind == "idle" else 0.0), fail.error(timeouts))
        return
    yield Step(at, _ending(script, request, said, cut=limit is not None and said >= limit))


def _deltas(script: Script, request: GenerationRequest) -> Iterator[Part]:
    subject, before = _subject(request.messages)
    said = ("" if script.rounds else before) + (request.prefix or "")
    if script.reasoning and not said:
        yield from (ReasoningDelta(word) for word in _WORD.findall(script.reasoning))
        if script.signature:
            block = {"type": "thinking", "thinking": script.reasoning, "signature": script.signature}
            yield MessagePart({"thinking_blocks": [block]})
    if script.tool_calls and all(words is None for words in (script.text, script.n, script.deltas)):
        return
    yield from (TextDelta(delta) for delta in _after(said, _answer(script, request, subject)) if delta)


def _answer(script: Script, request: GenerationRequest, subject: str) -> Iterator[str]:
    if script.endless:
        return (f" w{number}" for number in itertools.count())
    if script.n is not None:
        return (f" w{number}" for number in range(script.n))
    if script.deltas is not None:
        return iter(script.deltas)
    text = script.text or _tool_results(request.messages) or (subject if not _fields_in(subject) else "Done.")
    return iter(_WORD.findall(text))


def _after(said: str, deltas: Iterator[str]) -> Iterator[str]:
    """The deltas that come after the text that exists already; all of them if it does not begin the
    answer.
    """
    skipped: list[str] = []
    place = 0
    for delta in deltas:
        if place == len(said):
            return itertools.chain([delta], deltas)
        if not said.startswith(delta, place):
            begun = said[place:]
            if delta.startswith(begun):
                return itertools.chain([delta.removeprefix(begun)], deltas)
            return itertools.chain(skipped, [delta], deltas)
        place += len(delta)
        skipped.append(delta)
    return iter(())


def _ending(script: Script, request: GenerationRequest, said: int, *, cut: bool) -> list[Part]:
    parts: list[Part] = []
    reason: str = script.finish_reason or "stop"
    if cut:
        reason = "length"
    elif script.tool_calls:
        parts += [
            ToolCallPart(call.id or f"call_{position}", call.name, dict(call.arguments))
            for position, call in enumerate(script.tool_calls)
        ]
        reason = script.finish_reason or "tool_calls"
    if script.usage is True:
        asked = sum(len(message.text.split()) for message in request.messages)
        parts.append(UsagePart(Usage(input_tokens=asked, output_tokens=said)))
    elif script.usage:
        parts.append(UsagePart(Usage.model_validate(script.usage)))
    parts.append(FinishPart(reason, request.model))
    return parts


def _subject(messages: list[Message]) -> tuple[str, str]:
    """The text that the answer is about, and what of the answer has been said already: after a request to
    continue, the subject is the user message before it."""
    said: list[str] = []
    for message in reversed(messages):
        if message.role is Role.ASSISTANT and not message.tool_calls:
            said.insert(0, message.text)
        elif _is_subject(message):
            continued = messages[-1].role is Role.ASSISTANT or messages[-1].text.strip().lower() == "continue"
            return message.text, "".join(said) if continued else ""
    return messages[-1].text, ""


def _is_subject(message: Message) -> bool:
    return message.role is Role.USER and message.text.strip().lower() != "continue"


def _tool_results(messages: list[Message]) -> str:
    results: list[str] = []
    for message in reversed(messages):
        if message.role is Role.USER:
            break
        if message.role is Role.TOOL:
            results.insert(0, message.text)
    return "\n".join(results)


def _fields_in(text: str) -> dict[str, Any]:
    """The script that a user message is: a JSON object with at least one field of a script; else nothing."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) and document.keys() & Script.model_fields.keys() else {}
