"""Answers of the OpenAI dialect, decoded: a stream of chunks, or the one JSON body that some servers send
instead.
"""

from collections.abc import Callable
from typing import Any, Final

from palaver.shared.errors import MalformedStreamError
from palaver.shared.plain import shape
from palaver.workers.providers.decoded_answer import AnswerDecoder
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.errors import stream_error
from palaver.workers.providers.openai_chunk import (
    Choice,
    Chunk,
    Delta,
    Function,
    decode_chunk,
    error_in,
    lenient_chunk,
)
from palaver.workers.providers.parts import MetadataPart, Part, TextDelta, ToolCallPart
from palaver.workers.providers.sse import ServerEvent
from palaver.workers.providers.stream_or_body import StreamOrBody
from palaver.workers.providers.text import repaired
from palaver.workers.providers.tool_calls import ToolCallMerger

FINISH_REASONS: Final[dict[str, str]] = {
    "content_filter": "content_filter",
    "end_turn": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "function_call": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "stop": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
}
"""Finish reasons of compatible servers to ours; an unknown one counts as `stop`, with a warning."""

FAILURES: Final = frozenset(("error", "insufficient_system_resource"))
"""Finish reasons that mean that the provider failed."""

ERRORS: Final[dict[str, int]] = {
    "authentication_error": 401,
    "content_filter": 400,
    "context_length_exceeded": 400,
    "engine_overloaded": 503,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "invalid_request_error": 400,
    "model_not_found": 404,
    "not_found_error": 404,
    "overloaded": 503,
    "overloaded_error": 503,
    "permission_error": 403,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "timeout": 504,
}
"""The errors of compatible servers; see `errors.Codes`."""


class OpenAIDecoder(AnswerDecoder):
    """See `base.Decoder`."""

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__(options)
        self._response = StreamOrBody(options.max_event_bytes)

    def feed(self, data: bytes) -> list[Part]:
        """See `Decoder.feed`."""
        parts: list[Part] = []
        answer = self._answer
        for event in self._response.feed(data):
            try:
                chunk = decode_chunk(event.data)
            except (ValueError, RecursionError):
                self._take_uncommon(event, parts)
                continue
            if answer.plain and (text := _only_text(chunk)):
                parts.append(TextDelta(text))
                answer.begun = True
            else:
                self._take(chunk, event, parts)
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
            self._answer.fail(MalformedStreamError("The provider's answer is not a stream of chat chunks."))
        return parts + answer.finish(FINISH_REASONS)

    def _take(self, chunk: Chunk, event: ServerEvent, parts: list[Part]) -> None:
        answer = self._answer
        if not chunk.choices and not chunk.usage and not chunk.x_groq:
            # Errors come in many shapes, none of which looks like a chunk.
            self._take_uncommon(event, parts)
            return
        self._take_chunk(chunk, event.data, parts)
        answer.settle()

    def _take_uncommon(self, event: ServerEvent, parts: list[Part], *, cut: bool = False) -> None:
        """An event that is no common chunk: the end mark, an error, or a chunk in need of leniency.

        `cut`: the stream ended inside the event, so what cannot be read is no fault of its sender.
        """
        data = event.data.strip()
        if data in (b"[DONE]", b'"[DONE]"'):
            self._answer.ended = True
        elif data and self._answer.failure is None:
            try:
                document = self._answer.parse(data)
            except ValueError:
                if not cut:
                    self._answer.fail(_not_json(event))
            else:
                self._take_document(document, event, parts)
        self._answer.settle()

    def _take_document(self, document: Any, event: ServerEvent, parts: list[Part]) -> None:
        if event.event == b"error" or (isinstance(document, dict) and error_in(document)):
            self._answer.fail(stream_error(document, ERRORS))
        elif isinstance(document, dict):
            self._take_lenient(document, parts)
        else:
            self._answer.fail(
                MalformedStreamError(f"The provider sent {shape(document)} as an event, which is no chunk.")
            )

    def _take_lenient(self, document: dict[str, Any], parts: list[Part]) -> Chunk:
        try:
            chunk = lenient_chunk(document)
        except MalformedStreamError as error:
            self._answer.fail(error)
            return Chunk()
        self._take_chunk(chunk, None, parts)
        return chunk

    def _take_chunk(self, chunk: Chunk, raw: bytes | None, parts: list[Part]) -> None:
        answer = self._answer
        own = chunk.x_groq or {}
        if (error := chunk.error or own.get("error")) and answer.failure is None:
            self._answer.fail(stream_error({"error": error}, ERRORS))
        if answer.failure is not None:
            return
        answer.model = answer.model or chunk.model
        for choice in chunk.choices or ():
            if not choice.index and not answer.ended:
                self._take_choice(choice, raw, parts)
        answer.add_usage(chunk.usage or own.get("usage"), parts)

    def _take_choice(self, choice: Choice, raw: bytes | None, parts: list[Part]) -> None:
        answer = self._answer
        # A message at the end of a stream repeats what the deltas have said.
        delta = choice.delta or (None if answer.begun else choice.message)
        answer.begun = answer.begun or delta is not None or bool(choice.finish_reason)
        if delta is not None:
            self._take_delta(delta, raw, parts)
        if choice.finish_reason in FAILURES or choice.error:
            told = choice.error or "The provider failed in the middle of its answer."
            self._answer.fail(stream_error({"error": told}, ERRORS))
        elif choice.finish_reason:
            answer.reason = choice.finish_reason

    def _take_delta(self, delta: Delta, raw: bytes | None, parts: list[Part]) -> None:
        answer = self._answer
        if thought := delta.reasoning_content or delta.reasoning:
            answer.add_reasoning(thought, raw, parts)
        if text := delta.content or delta.refusal:
            answer.add_text(text, raw, parts)
        _add_calls(delta, answer.add_call)

    def _take_body(self, body: bytes, parts: list[Part]) -> None:
        answer = self._answer
        try:
            document = answer.parse(body)
        except ValueError:
            self._answer.fail(MalformedStreamError("The provider's answer is neither a stream nor JSON."))
            return
        if isinstance(document, list) and document:
            document = document[0]  # some gateways wrap their one error in a list
        if not isinstance(document, dict) or error_in(document):
            self._answer.fail(stream_error(document, ERRORS))
            return
        chunk = self._take_lenient(document, parts)
        answer.ended = True
        if others := [_told(choice) for choice in chunk.choices or () if choice.index]:
            parts.append(MetadataPart({"choices": others}))
        answer.add_body(body, parts)


def _only_text(chunk: Chunk) -> str | None:
    """The text of a chunk that adds visible text to the one choice, and nothing else; nearly every chunk
    does.
    """
    choices = chunk.choices
    if not choices or len(choices) != 1 or chunk.usage or chunk.error or chunk.x_groq:
        return None
    choice = choices[0]
    delta = choice.delta
    if delta is None or choice.finish_reason or choice.index or choice.error:
        return None
    if delta.tool_calls or delta.function_call or delta.reasoning_content or delta.reasoning:
        return None
    return delta.content


def _add_calls(delta: Delta, add: Callable[[int | None, str | None, str | None, Any], None]) -> None:
    for call in delta.tool_calls or ():
        function = call.function or Function()
        add(call.index, call.id, function.name, function.arguments)
    if delta.function_call is not None and not delta.tool_calls:  # some servers say each piece in both ways
        add(0, None, delta.function_call.name, delta.function_call.arguments)


def _told(choice: Choice) -> dict[str, Any]:
    """Another choice of a whole body, for the response's metadata."""
    message = choice.message or Delta()
    tools = ToolCallMerger()
    _add_calls(message, tools.feed)
    told: dict[str, Any] = {
        "index": choice.index,
        "content": repaired(message.content or ""),
        "finish_reason": FINISH_REASONS.get(choice.finish_reason or "stop", "stop"),
    }
    if tools:
        calls = [part for part in tools.finish(truncated=False) if isinstance(part, ToolCallPart)]
        told["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls
        ]
    return told


def _not_json(event: ServerEvent) -> MalformedStreamError:
    return MalformedStreamError(f"The provider sent an event of {len(event.data)} bytes that is not JSON.")
