"""What a job that takes several requests has finished: its journal. Pure.

An entry is stored in the ledger, fenced and together with the events that tell of it, before the next step of
the job; a takeover reads all of them and goes on behind the last.

    called      an answer with tool calls; its calls are open until each has a result
    result      what one of them came to
    continued   a truncated answer, and the prompt that asks to go on
    stepped     a step of a chain of thought is done; what was said of it is reasoning
    rejected    an answer that does not fit its schema, and the prompt that says so; its words do not count
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter

from palaver.shared.document import Document
from palaver.shared.errors import InternalError
from palaver.shared.events import Count, ProgressData, ToolCallData, ToolResultData
from palaver.shared.jobs import FinishReason
from palaver.shared.messages import Message, Role, ToolCall
from palaver.shared.plain import Flag, JsonObject, Text, optional

Event: TypeAlias = tuple[str, dict[str, Any]]
"""An event's type and data."""

__all__ = ["Called", "Continued", "Entry", "Journal", "Rejected", "Reply", "Result", "Stepped"]


class Reply(Document):
    """A whole answer to one request.

    `fields` are the provider's own, which it wants back in the message when the job goes on.
    """

    text: Text = ""
    reasoning: Text | None = optional()
    calls: list[ToolCall] = Field(default_factory=list)
    finish_reason: FinishReason = FinishReason.STOP
    model: Text | None = optional()
    provider: Text | None = optional()
    fields: JsonObject = Field(default_factory=dict)

    def message(self) -> Message:
        """The reply as further requests of this job have it."""
        return Message(
            role=Role.ASSISTANT,
            content=self.text or None if self.calls else self.text,
            reasoning=self.reasoning,
            tool_calls=self.calls or None,
            **self.fields,
        )


class Called(Document):
    """The model called tools."""

    kind: Literal["called"] = "called"
    reply: Reply

    def messages(self) -> list[Message]:
        """What further requests have of it."""
        return [self.reply.message()]

    def events(self) -> list[Event]:
        """What readers are told of it."""
        calls = [ToolCallData(**call.model_dump()) for call in self.reply.calls]
        return [("tool_call", call.model_dump(mode="json")) for call in calls]


class Result(Document):
    """What a call came to; `content` is for the model."""

    kind: Literal["result"] = "result"
    id: Text
    name: Text
    content: Text
    is_error: Flag = False

    def messages(self) -> list[Message]:
        """What further requests have of it."""
        return [
            Message(
                role=Role.TOOL,
                content=self.content,
                name=self.name,
                tool_call_id=self.id,
                metadata={"is_error": True} if self.is_error else None,
            )
        ]

    def events(self) -> list[Event]:
        """What readers are told of it."""
        data = ToolResultData(**self.model_dump(exclude={"kind"}))
        return [("tool_result", data.model_dump(mode="json"))]


class _Answered(Document):
    """An answer, and the prompt that follows it; readers are told the count."""

    told: ClassVar[str]

    reply: Reply
    prompt: Text
    count: Count  # of so many, this one among them …
    most: Count  # … at most

    def messages(self) -> list[Message]:
        """What further requests have of it; of a reply without a word there is nothing to go on from."""
        prompt = Message(role=Role.USER, content=self.prompt)
        return [self.reply.message(), prompt] if self.reply.text else [prompt]

    def events(self) -> list[Event]:
        """What readers are told of it."""
        data = ProgressData(done=self.count, total=self.most, message=self.told)
        return [("progress", data.model_dump(mode="json"))]


class Continued(_Answered):
    """The answer was truncated, and the model is asked to go on."""

    told = "continue"

    kind: Literal["continued"] = "continued"


class Rejected(_Answered):
    """The answer does not fit its schema, and the model is asked to answer again."""

    told = "repair"

    kind: Literal["rejected"] = "rejected"


class Stepped(_Answered):
    """A step of a chain of thought is done. `thought` is what readers have of it, with the model's own."""

    told = "step"

    kind: Literal["stepped"] = "stepped"
    thought: Text


Entry: TypeAlias = Annotated[Called | Result | Continued | Rejected | Stepped, Field(discriminator="kind")]

_entry: TypeAdapter[Entry] = TypeAdapter(Entry, config=ConfigDict(defer_build=True))


class Journal:
    """A job's entries, in order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: list[Entry] = list(entries)

    @classmethod
    def restored(cls, entries: Sequence[bytes]) -> Journal:
        """The journal of what the ledger has stored. Raises InternalError for what no worker of this version
        wrote.
        """
        try:
            return cls(_entry.validate_json(content) for content in entries)
        except ValueError:
            pass
        raise InternalError("the job's journal has a form that this worker does not know")

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def replies(self) -> Iterator[Reply]:
        """The answers, in order."""
        return (entry.reply for entry in self.entries if not isinstance(entry, Result))

    @property
    def last(self) -> Reply | None:
        """The last answer."""
        return next((entry.reply for entry in reversed(self.entries) if not isinstance(entry, Result)), None)

    @property
    def told(self) -> list[Called | Result | Continued | Stepped]:
        """The entries whose words count: not what led to an answer that was rejected."""
        told: list[Called | Result | Continued | Stepped] = []
        for entry in self.entries:
            if isinstance(entry, Rejected):
                del told[len(told) - len(_continued(told)) :]
            else:
                told.append(entry)
        return told

    @property
    def text(self) -> str:
        """What readers have of its answers."""
        return "".join(entry.reply.text for entry in self.told if isinstance(entry, Called | Continued))

    @property
    def reasoning(self) -> str:
        """What readers have of its thoughts."""
        return "".join(_thought(entry) for entry in self.told)

    @property
    def begun(self) -> str:
        """What is finished of the last answer: it was truncated and goes on."""
        return "".join(entry.reply.text for entry in _continued(self.told))

    @property
    def rejected(self) -> str | None:
        """What readers still have of an answer that was rejected last, until the next one begins."""
        if not self.entries or not isinstance(self.entries[-1], Rejected):
            return None
        return Journal(self.entries[:-1]).begun + self.entries[-1].reply.text

    @property
    def messages(self) -> list[Message]:
        """What the next request has after the job's own messages: a call's results in the order of the
        calls.
        """
        messages: list[Message] = []
        for entry, results in _grouped(self.entries):
            messages += entry.messages()
            messages += [message for result in results for message in result.messages()]
        return messages

    @property
    def open_calls(self) -> list[ToolCall]:
        """Calls without a result, of the last answer."""
        done = {entry.id for entry in self.entries if isinstance(entry, Result)}
        calls = self.last.calls if self.last is not None else []
        return [call for call in calls if call.id not in done]

    @property
    def tool_rounds(self) -> int:
        """How often tools were called."""
        return sum(isinstance(entry, Called) for entry in self.entries)

    @property
    def continues(self) -> int:
        """How often the model was asked to go on."""
        return sum(isinstance(entry, Continued) for entry in self.entries)

    @property
    def repairs(self) -> int:
        """How often the model was asked to answer again."""
        return sum(isinstance(entry, Rejected) for entry in self.entries)

    @property
    def steps(self) -> int:
        """How many steps of a chain are done."""
        return sum(isinstance(entry, Stepped) for entry in self.entries)

    def remembered(self, rest: str, *, open_calls: bool) -> list[Message]:
        """The answer as a session remembers it, `rest` being the text after the last entry.

        Continues, rejected answers and steps leave no trace in it, and thoughts only before calls, where some
        providers want them back. Calls that have no result are in it only with `open_calls`: providers
        refuse a conversation in which one stays unanswered.
        """
        messages: list[Message] = []
        text = ""
        for entry, results in _grouped(self.told):
            text += "" if isinstance(entry, Stepped) else entry.reply.text
            if not isinstance(entry, Called):
                continue
            done = {result.id for result in results}
            calls = [call for call in entry.reply.calls if open_calls or call.id in done]
            messages += _assistant(text, calls, entry.reply)
            messages += [message for result in results for message in result.messages()]
            text = ""
        return messages + _assistant(text + rest, [])


def _grouped(
    entries: Sequence[Entry],
) -> Iterator[tuple[Called | Continued | Rejected | Stepped, list[Result]]]:
    """Each answer with the results of its calls, these in the order of the calls."""
    results = {entry.id: entry for entry in entries if isinstance(entry, Result)}
    for entry in entries:
        if not isinstance(entry, Result):
            yield entry, [results[call.id] for call in entry.reply.calls if call.id in results]


def _thought(entry: Entry) -> str:
    if isinstance(entry, Result):
        return ""
    return entry.thought if isinstance(entry, Stepped) else entry.reply.reasoning or ""


def _continued(entries: Sequence[Called | Result | Continued | Stepped]) -> list[Continued]:
    """The continues at the end."""
    last = takewhile(lambda entry: isinstance(entry, Continued), reversed(entries))
    return [entry for entry in last if isinstance(entry, Continued)][::-1]


def _assistant(text: str, calls: list[ToolCall], reply: Reply | None = None) -> list[Message]:
    if not text and not calls:
        return []
    thoughts = {"reasoning": reply.reasoning, **reply.fields} if reply is not None and calls else {}
    return [Message(role=Role.ASSISTANT, content=text or None, tool_calls=calls or None, **thoughts)]
