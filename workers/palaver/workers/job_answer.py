"""What one job has said so far: parts of a provider's stream come in, events go to the writer, a response
comes out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, count
from typing import Any, ClassVar

import orjson

from palaver.shared.errors import (
    ChatIncompleteResponseError,
    ErrorInfo,
    MalformedStreamError,
    PalaverError,
    ValidationError,
)
from palaver.shared.events import RetryData, StreamEndData, ThinkingBlockData, WarningData
from palaver.shared.jobs import FinishReason, Status
from palaver.shared.messages import Message, ToolCall
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import ChatResponse, ShownWidget, Usage
from palaver.workers.answer_writer import AnswerWriter
from palaver.workers.frames import forget_frames
from palaver.workers.generation import Abstract, Called, Continued, Entry, Journal, Reply, Stepped
from palaver.workers.metering import Bill, Meter
from palaver.workers.providers.parts import (
    FinishPart,
    MessagePart,
    MetadataPart,
    Part,
    RawPart,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
)
from palaver.workers.publisher import inner_event

__all__ = ["JobAnswer"]


class JobAnswer:
    """One job's answer, over all the requests that it takes. Its text lives in the writer, once.

    What the journal holds of it is finished; what the writer has beyond that, a request has left or goes on
    with.
    """

    def __init__(self, writer: AnswerWriter) -> None:
        self.writer = writer
        self.journal = Journal()
        self.bill = Bill()
        self._say: Callable[[str, bytes | None], None] = writer.text  # where the model's words go
        self._step: list[str] = []  # what was said of a step of a chain, which readers have as thoughts
        self.ref: ModelRef | None = None  # the model that is being asked
        self.begun = False  # the request that is going on has written something
        self.begun_at = 0.0  # on the monotonic clock
        self.finished = False  # and its answer is whole
        self.abstract: Abstract | None = None  # of what the history had no room for, written for this job
        self.widgets: list[ShownWidget] = []  # that an agent has shown
        self.parsed: Any = None  # the value of a whole answer with a schema
        self._drops = False  # with its first word, what the request before has left is gone
        self._thought_through = False  # readers have the reasoning before the text that goes on
        self._told: ModelRef | None = None  # whose stream_start readers had last; None: it is not of now
        self._calls: list[ToolCall] = []  # told when the answer is whole: a cut one has called nobody
        self._fields: dict[str, Any] = {}
        self._thoughts_told = 0  # of the request's blocks of thinking
        self._model: str | None = None  # the name under which the model answered
        self._before = 0  # bytes that were said when the request began
        self._usage: Usage | None = None  # what its provider tells
        self._reason: FinishReason | None = None
        self._raw: Any = None
        self._metadata: dict[str, Any] = {}
        self._warned: tuple[tuple[str, str | None], ...] = ()

    @property
    def text(self) -> str:
        return self.writer.said.decode()

    @property
    def partial(self) -> str:
        """The text that is in no entry of the journal, and was not rejected."""
        left = self._left
        return "" if left == self.journal.rejected else left

    @contextmanager
    def request(self, ref: ModelRef, meter: Meter, *, goes_on: bool, thinks: bool = False) -> Iterator[None]:
        """The block of one request; with `goes_on` behind the partial text, else anew where that begins. What
        it says is thought where it only `thinks`, in a step of a chain.

        What it has cost is put down when the block ends, in the step in which the request does: until then
        its tenant's money is set aside.
        """
        self._begin_request(ref, meter, goes_on=goes_on, thinks=thinks)
        try:
            yield
        finally:
            self._read_meter(meter)

    def _begin_request(self, ref: ModelRef, meter: Meter, *, goes_on: bool, thinks: bool) -> None:
        self._take_over(ref, meter)
        self._step = []
        self._say = self._say_step if thinks else self.writer.text
        thought = self._partial_thought
        self._before, self._usage = self._said, None
        self._drops = not goes_on and bool(self._left or thought)
        self._thought_through = goes_on and bool(thought)
        self._calls, self._fields, self._model, self._reason = [], {}, None, None
        self._thoughts_told = 0
        self.ref = ref
        self.begun = self.finished = False

    @property
    def counted(self) -> int | None:
        """Tokens of the request's answer, as its provider counts them."""
        usage = self._usage
        return None if usage is None or usage.from_cache else usage.output_tokens

    def take(self, parts: list[Part]) -> bool:
        """The parts of one network read: the hot path. False when more is written than can be sent."""
        writer = self.writer
        for part in parts:
            kind = type(part)
            if kind is TextDelta:
                if not self.begun:
                    self._begin()
                self._say(part.text, part.raw)  # type: ignore[union-attr]
            elif kind is ReasoningDelta:
                if self._thought_through:
                    continue
                if not self.begun:
                    self._begin()
                writer.reasoning(part.text, part.raw)  # type: ignore[union-attr]
            else:
                self._TAKERS[kind](self, part)
        return not writer.full

    async def room(self) -> None:
        """Return when what waits to be sent is within bounds again."""
        await self.writer.drain()

    def reply(self) -> Reply:
        """The whole answer to the request that has ended."""
        return Reply(
            text="".join(self._step) or self.partial,
            reasoning=self._partial_thought or None,
            calls=self._calls,
            finish_reason=self._reason or FinishReason.STOP,
            model=self._model,
            provider=self.ref.profile if self.ref else None,
            fields=self._fields,
        )

    def keep(self, entry: Entry) -> list[bytes]:
        """An entry for the journal; the events that are to be logged with it."""
        self.journal.entries.append(entry)
        return [inner_event(kind, data) for kind, data in entry.events()]

    def take_back(self) -> None:
        """The ledger has refused the last entry: it has not happened, but what it cost was spent."""
        self.journal.entries.pop()

    def spent(self) -> bytes:
        """What the job has spent so far, failed requests included, for the ledger: for each write there from
        which another worker may go on.
        """
        return self.bill.note()

    def charge(self, ref: ModelRef, usage: Usage | None) -> None:
        """Count a request of which readers are told nothing."""
        if usage is not None:
            self.bill.add(ref, usage)

    def settle(self, error: PalaverError) -> None:
        """Let a truncated answer be, because it could not be continued."""
        self.warn("continue_failed", f"The answer is not whole: {error.message}")
        self._reason, self.finished = FinishReason.LENGTH, True

    def warn(self, code: str, message: str, param: str | None = None) -> None:
        """Tell readers, once, that something is left out."""
        if (code, param) not in self._warned:
            self._warned += ((code, param),)
            data = WarningData(code=code, param=param, message=message)
            self.writer.event("warning", data.model_dump(mode="json", exclude_none=True))

    def retry(self, error: PalaverError, delay: float, ref: ModelRef) -> None:
        """Tell readers that the job goes on after a failure."""
        self._told = None
        data = RetryData(error=ErrorInfo.of(error), delay=delay, model=str(ref))
        self.writer.event("retry", data.model_dump(mode="json", exclude_none=True))

    def result(self, error: PalaverError | None) -> tuple[ChatResponse, PalaverError | None]:
        """The result as it stands, whole or partial; and why partial: `error`, or what is found now."""
        try:
            return self._response(error), error
        except ValidationError as unfit:
            self.drop_extras()
            return self._response(forget_frames(unfit)), unfit

    def drop_extras(self) -> None:
        """Forget what a provider said beside the text: no reader could read it. The text is kept."""
        self._raw, self._metadata, self._model = None, {}, None

    def remembered(self, status: Status) -> list[Message]:
        """The answer as messages, for the session, and an abstract that was written for it. Open calls are
        among them if somebody may answer them.
        """
        answerable = status is Status.COMPLETED and bool(self.journal.open_calls)
        kept = self.journal.remembered(self.partial, open_calls=answerable)
        return kept if self.abstract is None else [*kept, self.abstract.message()]

    def end(self, status: Status, response: ChatResponse, error: PalaverError | None) -> bytes:
        """The `stream_end` of this result, as the inner part of an event."""
        known = {"status": status, "usage": response.usage, "finish_reason": response.finish_reason}
        if error is None:
            data = StreamEndData(response=response, **known)
        else:
            partial = {"text": response.content, "reasoning": response.reasoning}
            data = StreamEndData(error=ErrorInfo.of(error), **partial, **known)
        return b'"type":"stream_end","data":' + data.to_json()

    @property
    def _left(self) -> str:
        """What readers have beyond the journal: of a request that has left it, or of a rejected answer."""
        return self.writer.said[len(self.journal.text.encode()) :].decode()

    @property
    def _partial_thought(self) -> str:
        return self.writer.thought[len(self.journal.reasoning.encode()) :].decode()

    @property
    def _said(self) -> int:
        """Bytes that readers have."""
        return len(self.writer.said) + len(self.writer.thought)

    def _take_over(self, ref: ModelRef, meter: Meter) -> None:
        """Put down the request of a worker that died before it could: readers have more than was accounted
        for.
        """
        lost = meter.read(None, said=max(0, self._said - self.bill.said), whole=False)
        if lost is not None:
            self.bill.add(ref, lost)
        self.bill.said = self._said

    def _read_meter(self, meter: Meter) -> None:
        """Put down the request that has ended."""
        assert self.ref is not None  # noqa: S101 - it has begun
        calls = sum(len(call.to_json()) for call in self._calls)
        said = max(0, self._said - self._before) + calls
        usage = meter.read(self._usage, said=said, whole=self.finished, model=self._model)
        if usage is not None:
            self.bill.add(self.ref, usage)
        self.bill.said = self._said

    def _response(self, error: PalaverError | None) -> ChatResponse:
        last = self.journal.last or Reply()  # which speaks where this attempt has asked nobody
        model = self.ref.model if self.ref else last.model
        journal = self.journal
        counts = {
            "tool_rounds": journal.tool_rounds,
            "continues": journal.continues,
            "repairs": journal.repairs,
        }
        fields: dict[str, Any] = {
            "content": self.text,
            "reasoning": self.writer.thought.decode() or None,
            "usage": self.bill.usage,
            "model": self._model or model,
            "provider": self.ref.profile if self.ref else last.provider,
            "tool_calls": self.journal.open_calls,
            "metadata": {name: count for name, count in counts.items() if count}
            | self._signed_thinking(last)
            | self._metadata,
            "widgets": self.widgets or None,
            "raw": self._raw,
            "parsed": self.parsed if error is None else None,
        }
        if isinstance(error, ChatIncompleteResponseError):
            return ChatResponse.failed(error, finish_reason=FinishReason.LENGTH, **fields)
        if error is not None:
            return ChatResponse.failed(error, **fields)
        return ChatResponse(finish_reason=self._reason or last.finish_reason, **fields)

    def _signed_thinking(self, last: Reply) -> dict[str, Any]:
        """The blocks of thinking of the last request that somebody has signed: who answers its calls has to
        send them back.
        """
        blocks = (self._fields or last.fields).get("thinking_blocks") or ()
        return {"thinking_blocks": blocks} if any(map(_is_signed, blocks)) else {}

    def _begin(self) -> None:
        """Write the `stream_start` that is due. A request that goes on with the job in the words of the same
        model needs none; nor has one a place where readers have results of tools, but no word of text: its
        offset would be 0, and drop them.
        """
        assert self.ref is not None  # noqa: S101 - `request` came before any part
        self.begun, self.begun_at = True, time.monotonic()
        offset = len(self.text)
        if self._drops or not (offset or len(self.journal)):
            self._start(self.ref, 0)
            self._tell_again()
            self._before = self._said
        elif offset and self._told != self.ref:
            self._start(self.ref, offset)
        self._told = self.ref

    def _start(self, ref: ModelRef, offset: int) -> None:
        self.writer.start(model=ref.model, provider=ref.profile, offset=offset)

    def _tell_again(self) -> None:
        """What offset 0 has dropped and is finished all the same."""
        for entry in self.journal.told:
            if isinstance(entry, Stepped):
                self.writer.reasoning(entry.thought)
                continue
            if isinstance(entry, Called | Continued):
                self.writer.reasoning(entry.reply.reasoning or "")
                self.writer.text(entry.reply.text)
            if not isinstance(entry, Continued):
                for kind, data in entry.events():
                    self.writer.event(kind, data)

    def _say_step(self, text: str, raw: bytes | None) -> None:
        self._step.append(text)
        self.writer.reasoning(text, raw)

    def _tool_call(self, part: ToolCallPart) -> None:
        try:
            call = ToolCall(id=part.id, name=part.name, arguments=part.arguments)
        except ValidationError as unfit:
            raise MalformedStreamError(f"the provider's call of a tool is none: {unfit.message}") from None
        self._calls.append(self._distinct(call))

    def _distinct(self, call: ToolCall) -> ToolCall:
        """Some servers number the calls of each answer anew; a job's results are told apart by their ids."""
        taken = {known.id for reply in self.journal.replies for known in reply.calls}
        taken |= {known.id for known in self._calls}
        names = chain([call.id], (f"{call.id}.{number}" for number in count(2)))
        return call.model_copy(update={"id": next(name for name in names if name not in taken)})

    def _count(self, part: UsagePart) -> None:
        self._usage = part.usage

    def _keep_raw(self, part: RawPart) -> None:
        self._raw = orjson.loads(part.body)

    def _keep_fields(self, part: MessagePart) -> None:
        self._fields.update(part.fields)
        blocks = part.fields.get("thinking_blocks", ())
        for block in blocks[self._thoughts_told :]:
            if _is_signed(block) and not self._thought_through:
                if not self.begun:
                    self._begin()
                self.writer.event("thinking_block", ThinkingBlockData.of(block).model_dump(mode="json"))
        self._thoughts_told = max(self._thoughts_told, len(blocks))

    def _keep_metadata(self, part: MetadataPart) -> None:
        self._metadata.update(part.data)

    def _warn(self, part: WarningPart) -> None:
        self.warn(part.code, part.message, part.param)

    def _finish(self, part: FinishPart) -> None:
        if not self.begun:
            self._begin()  # an empty answer is an answer: it replaces what readers had
        try:
            self._reason = FinishReason(part.reason)
        except ValueError:
            raise MalformedStreamError(
                "the provider ended its answer for a reason that is none of ours"
            ) from None
        if self._reason is FinishReason.TOOL_CALLS and not self._calls:
            self._reason = FinishReason.STOP  # there is nothing to answer
        self._model, self.finished = part.model, True

    _TAKERS: ClassVar[Mapping[type, Callable[[JobAnswer, Any], None]]] = {
        ToolCallPart: _tool_call,
        UsagePart: _count,
        RawPart: _keep_raw,
        MessagePart: _keep_fields,
        MetadataPart: _keep_metadata,
        WarningPart: _warn,
        FinishPart: _finish,
    }


def _is_signed(block: Mapping[str, Any]) -> bool:
    return bool(block.get("signature") or block.get("data"))
