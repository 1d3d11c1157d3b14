"""Answers of Anthropic's messages API, decoded: a stream of events, or one JSON body instead."""

import itertools
from typing import Any, Final

from palaver.shared.errors import MalformedStreamError, PalaverError
from palaver.shared.plain import measure, shape
from palaver.workers.providers.anthropic_event import (
    Block,
    Delta,
    Event,
    Message,
    decode_event,
    lenient_event,
    lenient_message,
)
from palaver.workers.providers.decoded_answer import AnswerDecoder
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.errors import stream_error
from palaver.workers.providers.lenient import integer, lenient_json
from palaver.workers.providers.parts import MessagePart, MetadataPart, Part, TextDelta, WarningPart
from palaver.workers.providers.sse import ServerEvent
from palaver.workers.providers.stream_or_body import StreamOrBody
from palaver.workers.providers.text import repaired

FINISH_REASONS: Final[dict[str, str]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # of a tool that runs at Anthropic: the answer goes on when it is asked to
    "refusal": "content_filter",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
}
"""Anthropic's stop reasons to ours; an unknown one counts as `stop`, with a warning."""

ERRORS: Final[dict[str, int]] = {
    "api_error": 500,
    "authentication_error": 401,
    "billing_error": 402,
    "invalid_request_error": 400,
    "not_found_error": 404,
    "overloaded_error": 529,
    "permission_error": 403,
    "rate_limit_error": 429,
    "request_too_large": 413,
    "timeout_error": 504,
}
"""The types of Anthropic's errors; see `errors.Codes`."""

_INPUTS: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_SHOWN: Final = frozenset(("text", "thinking", "redacted_thinking", "tool_use"))
_COST: Final = 256  # what a block counts beside its characters
_THOUGHT_COST: Final = 16 * 1024
"""What one of thinking counts, as a call does: each is told, together with all before it."""
_MOST_COUNTS: Final = 4096
"""Bytes of all that is counted, about: they are told anew with each event that has some."""
_THINKING: Final = frozenset(("thinking", "redacted_thinking"))
_DELTAS: Final = frozenset(("text_delta", "thinking_delta", "signature_delta", "input_json_delta"))


class _Open:
    """A block of content that has begun; `number` counts all blocks of the answer."""

    __slots__ = ("data", "input", "kind", "number", "pieces", "signature", "whole")

    def __init__(self, number: int, block: Block) -> None:
        self.number = number
        self.kind = block.type
        self.input = block.input  # whole arguments; pieces of them may come instead
        self.pieces: list[str] = []  # of its thinking
        self.signature: list[str] = [block.signature] if block.signature else []
        self.data = block.data
        self.whole: dict[str, str] | None = None  # thinking that has ended, as it is told from then on

    @property
    def is_signed(self) -> bool:
        """Whether it is thinking that the provider takes back."""
        return self.kind == "redacted_thinking" or (self.kind == "thinking" and bool(self.signature))

    def thought(self) -> dict[str, str] | None:
        """A block of thinking, as the provider wants it back."""
        if self.whole is not None:
            return self.whole
        if self.kind == "redacted_thinking":
            return {"type": self.kind, "data": repaired(self.data or "")}
        if self.kind != "thinking":
            return None
        signature = {"signature": repaired("".join(self.signature))} if self.signature else {}
        return {"type": self.kind, "thinking": repaired("".join(self.pieces)), **signature}


class AnthropicDecoder(AnswerDecoder):
    """See `base.Decoder`. The blocks of signed thinking so far are in a MessagePart each time that one is
    whole, as `thinking_blocks`: the provider wants them back, unchanged, with the results of calls. Which
    stop sequence has ended the answer is `stop_sequence` in its metadata.
    """

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__(options)
        self._response = StreamOrBody(options.max_event_bytes)
        self._blocks: list[_Open] = []
        self._open: dict[int, _Open] = {}  # by the server's index
        self._usage: dict[str, Any] = {}
        self._left_out: set[str] = set()
        self._thoughts: list[_Open] = []  # the blocks of thinking
        self._thoughts_told = 0  # blocks of thinking that a MessagePart had
        self._stop_sequence: str | None = None

    def feed(self, data: bytes) -> list[Part]:
        """See `Decoder.feed`."""
        parts: list[Part] = []
        answer = self._answer
        for event in self._response.feed(data):
            try:
                decoded = decode_event(event.data)
            except (ValueError, RecursionError):
                self._take_uncommon(event, parts)
                continue
            if answer.plain and (text := _only_text(decoded)):
                parts.append(TextDelta(text))
            else:
                self._take(decoded, event, parts)
        if self._response.error is not None:
            answer.fail(self._response.error)
        return parts

    def finish(self) -> list[Part]:
        """See `Decoder.finish`."""
        parts: list[Part] = []
        for event in self._response.finish():
            self._take_uncommon(event, parts, cut=True)
        if self._response.body:
            self._take_body(self._response.body, parts)
        answer = self._answer
        if not answer.begun and (answer.ended or not self._response.recognised):
            answer.fail(MalformedStreamError("The provider's answer is not a stream of messages."))
        for block in self._blocks:
            if block.kind == "tool_use" and block.input:
                answer.tools.feed(block.number, None, None, block.input)
        if answer.tools or any(block.is_signed for block in self._thoughts):
            self._tell_thinking(self._thoughts, parts)
        if self._stop_sequence is not None and answer.reason == "stop_sequence":
            parts.append(MetadataPart({"stop_sequence": repaired(self._stop_sequence)}))
        return parts + answer.finish(FINISH_REASONS)

    def _take_uncommon(self, event: ServerEvent, parts: list[Part], *, cut: bool = False) -> None:
        """An event that is not as documented. `cut`: the stream ended inside it, so its sender is not to
        blame.
        """
        data = event.data.strip()
        if data == b"[DONE]":  # gateways that translate from another dialect add it
            self._answer.ended = True
        elif data and not self._answer.done:
            try:
                document = self._answer.parse(data)
            except ValueError:
                if not cut:
                    told = f"The provider sent an event of {len(event.data)} bytes that is not JSON."
                    self._answer.fail(MalformedStreamError(told))
            else:
                self._take_document(document, event, parts)
        self._answer.settle()

    def _take_document(self, document: Any, event: ServerEvent, parts: list[Part]) -> None:
        if not isinstance(document, dict):
            told = f"The provider sent {shape(document)} as an event, which is none."
            self._answer.fail(MalformedStreamError(told))
            return
        try:
            lenient = lenient_event(document)
        except MalformedStreamError as error:
            self._answer.fail(error)
        else:
            self._take(lenient, event, parts)

    def _take(self, event: Event, sent: ServerEvent, parts: list[Part]) -> None:
        answer = self._answer
        if answer.done:
            return
        kind = event.type or sent.event.decode("ascii", "replace")
        if event.error or kind == "error":
            answer.fail(_error_in(sent.data))
        elif kind == "content_block_delta" and event.delta is not None:
            self._take_delta(event.delta, event.index, sent.data, parts)
        elif kind == "content_block_start" and event.content_block is not None:
            self._begin_block(event.content_block, event.index, sent.data, parts)
        elif kind == "message_start" and event.message is not None:
            self._take_message(event.message, len(sent.data), parts)
        elif kind == "message_delta":
            self._take_stop(event.delta or Delta())
            self._count(event.usage, parts)
        elif kind == "content_block_stop":
            self._end_block(event.index, parts)
        elif kind == "message_stop":
            answer.ended = True
        elif not kind and sent.data.strip() != b"{}":
            answer.fail(MalformedStreamError("The provider sent an event without a type."))
        answer.settle()

    def _take_message(self, message: Message, size: int, parts: list[Part]) -> None:
        answer = self._answer
        answer.begun = True
        answer.hold(size if message.content else 0)
        answer.model = answer.model or message.model
        for index, block in enumerate(message.content or ()):
            self._begin_block(block, index, None, parts)
        self._take_stop(message)
        self._count(message.usage, parts)

    def _take_stop(self, said: Message | Delta) -> None:
        self._answer.reason = said.stop_reason or self._answer.reason
        self._stop_sequence = said.stop_sequence or self._stop_sequence

    def _end_block(self, index: int | None, parts: list[Part]) -> None:
        block = self._known(index)
        if block is None or block.whole is not None:
            return
        block.whole = block.thought()
        if block.is_signed:
            ended = itertools.takewhile(lambda thought: thought.whole is not None, self._thoughts)
            self._tell_thinking(list(ended), parts)

    def _begin_block(self, block: Block, index: int | None, raw: bytes | None, parts: list[Part]) -> None:
        answer = self._answer
        answer.begun = True
        opened = self._add(block, index)
        answer.hold(len(raw or b""))
        if block.type not in _SHOWN:
            self._leave_out(block.type, parts)
        elif block.type == "tool_use":
            answer.add_call(opened.number, block.id, block.name, None)
        if block.thinking:
            opened.pieces.append(block.thinking)
            answer.add_reasoning(block.thinking, raw, parts)
        if block.text:
            answer.add_text(block.text, raw, parts)

    def _take_delta(self, delta: Delta, index: int | None, raw: bytes, parts: list[Part]) -> None:
        answer = self._answer
        answer.begun = True
        if delta.text:
            answer.add_text(delta.text, raw, parts)
        elif delta.thinking:
            self._thought(index).pieces.append(delta.thinking)
            answer.hold(len(delta.thinking))
            answer.add_reasoning(delta.thinking, raw, parts)
        elif delta.signature:
            self._thought(index).signature.append(delta.signature)
            answer.hold(len(delta.signature))
        elif delta.partial_json:
            block = self._block(index, "tool_use")
            if block.kind == "tool_use":
                block.input = None
                answer.add_call(block.number, None, None, delta.partial_json)
        elif delta.type not in _DELTAS:
            self._leave_out(delta.type, parts)

    def _block(self, index: int | None, kind: str) -> _Open:
        """The block that a delta belongs to."""
        found = self._known(index)
        if found is None:
            found = self._add(Block(type=kind), index)
        return found

    def _thought(self, index: int | None) -> _Open:
        """The block of thinking that grows by a delta, also if its server has called it ended."""
        block = self._block(index, "thinking")
        block.whole = None
        return block

    def _add(self, block: Block, index: int | None) -> _Open:
        added = _Open(len(self._blocks), block)
        self._blocks.append(added)
        self._open[added.number if index is None else index] = added
        if added.kind in _THINKING:
            self._thoughts.append(added)
        self._answer.hold(_THOUGHT_COST if added.kind in _THINKING else _COST)
        return added

    def _known(self, index: int | None) -> _Open | None:
        """The block of an index: the last one, where the server does not say."""
        last = self._blocks[-1] if self._blocks else None
        return last if index is None else self._open.get(index)

    def _leave_out(self, kind: str | None, parts: list[Part]) -> None:
        told = repaired(kind or "unknown")[:64]
        if told not in self._left_out:
            self._left_out.add(told)
            self._answer.hold(_COST)
            message = f"The answer has content of the type {told!r}; it is left out."
            parts.append(WarningPart("content_left_out", message))

    def _tell_thinking(self, thoughts: list[_Open], parts: list[Part]) -> None:
        blocks = [thought for block in thoughts if (thought := block.thought())]
        if len(blocks) > self._thoughts_told:
            self._thoughts_told = len(blocks)
            parts.append(MessagePart({"thinking_blocks": blocks}))

    def _count(self, usage: dict[str, Any] | None, parts: list[Part]) -> None:
        """Counts come at the beginning and, as totals, at the end; some servers send a 0 in one place."""
        if measure(usage, _MOST_COUNTS) > _MOST_COUNTS:
            return
        counted = dict(self._usage)
        for name, value in (usage or {}).items():
            known = integer(counted.get(name))
            count = integer(value)
            if value is not None:
                counted[name] = value if known is None or count is None else max(known, count)
        if measure(counted, _MOST_COUNTS) <= _MOST_COUNTS:
            self._usage = counted
        self._answer.add_usage(_totals(self._usage), parts)

    def _take_body(self, body: bytes, parts: list[Part]) -> None:
        answer = self._answer
        try:
            document = answer.parse(body)
        except ValueError:
            answer.fail(MalformedStreamError("The provider's answer is neither a stream nor JSON."))
            return
        if not isinstance(document, dict) or "content" not in document:
            answer.fail(stream_error(document, ERRORS))
            return
        try:
            self._take_message(lenient_message(document), 0, parts)
        except MalformedStreamError as error:
            answer.fail(error)
            return
        answer.ended = True
        answer.add_body(body, parts)


def _error_in(data: bytes) -> PalaverError:
    try:
        return stream_error(lenient_json(data), ERRORS)
    except ValueError:  # in what is not known of it
        return stream_error(None, ERRORS)


def _only_text(event: Event) -> str | None:
    """The text of an event that adds text, and nothing else; nearly every event does."""
    delta = event.delta
    if delta is None or event.type != "content_block_delta" or event.error:
        return None
    return None if delta.thinking or delta.partial_json or delta.signature else delta.text


def _totals(usage: dict[str, Any]) -> dict[str, Any]:
    """Anthropic counts what the prompt cache had, or took, apart from `input_tokens`; we count all input, and
    keep the parts in `details`.
    """
    if not usage:
        return {}
    inputs = [count for name in _INPUTS if (count := integer(usage.get(name))) is not None]
    details = {name: value for name, value in usage.items() if name not in ("input_tokens", "output_tokens")}
    return {
        "input_tokens": sum(inputs) if integer(usage.get("input_tokens")) is not None else None,
        "output_tokens": usage.get("output_tokens"),
        "details": details,
    }
