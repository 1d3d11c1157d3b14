"""Answers of Ollama's /api/chat, decoded: one JSON object a line, the last one with `done` and the counts."""

from typing import Any, Final

import msgspec

from palaver.shared.errors import MalformedStreamError
from palaver.workers.providers.decoded_answer import AnswerDecoder
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.errors import stream_error
from palaver.workers.providers.lenient import content_text, dictionaries, dictionary, lenient_json, text
from palaver.workers.providers.ndjson import LineDecoder
from palaver.workers.providers.parts import Part, TextDelta

FINISH_REASONS: Final[dict[str, str]] = {
    "length": "length",
    "load": "stop",
    "stop": "stop",
    "unload": "stop",
}
"""Ollama's `done_reason` to ours; `load` and `unload` end requests without a prompt."""

ERRORS: Final[dict[str, int]] = {}
"""Ollama says what went wrong in words alone; see `errors.Codes`."""

_COUNTS: Final = {"prompt_eval_count": "input_tokens", "eval_count": "output_tokens"}
_DURATIONS: Final = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: dict[str, Any] | str | None = None


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    model: str | None = None
    done: bool = False
    error: Any = None


_decode = msgspec.json.Decoder(_Line).decode


class OllamaDecoder(AnswerDecoder):
    """See `base.Decoder`. Its events are lines, and a whole body is a single one."""

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__(options)
        self._lines = LineDecoder(options.max_event_bytes)
        self._calls = 0

    def feed(self, data: bytes) -> list[Part]:
        """See `Decoder.feed`."""
        parts: list[Part] = []
        answer = self._answer
        for line in self._lines.feed(data):
            try:
                decoded = _decode(line)
            except (ValueError, RecursionError):
                self._take_uncommon(line, parts)
                continue
            if answer.plain and (delta := _only_text(decoded)):
                parts.append(TextDelta(delta))
            else:
                self._take(decoded, line, parts)
        if self._lines.error is not None:
            self._answer.fail(self._lines.error)
        return parts

    def finish(self) -> list[Part]:
        """See `Decoder.finish`."""
        parts: list[Part] = []
        for line in self._lines.finish():
            self._take_uncommon(line, parts, cut=True)
        return parts + self._answer.finish(FINISH_REASONS)

    def _take_uncommon(self, line: bytes, parts: list[Part], *, cut: bool = False) -> None:
        """A line that is not as documented. `cut`: the stream ended inside it, so its sender is not to
        blame.
        """
        try:
            document = self._answer.parse(line)
        except ValueError:
            if not (cut and self._answer.begun):
                self._answer.fail(_no_json(line))
            return
        if not isinstance(document, dict):
            self._answer.fail(MalformedStreamError("The provider sent a line that is no JSON object."))
            return
        try:
            lenient = _lenient_line(document)
        except MalformedStreamError as error:
            self._answer.fail(error)
        else:
            self._take(lenient, line, parts)

    def _take(self, line: _Line, raw: bytes, parts: list[Part]) -> None:
        answer = self._answer
        if self.done:
            return
        if line.error:
            self._answer.fail(stream_error({"error": line.error}, ERRORS))
            return
        alone = not answer.begun
        answer.begun = True
        answer.model = answer.model or line.model
        if line.message is not None:
            self._take_message(line.message, raw, parts)
        if line.done:
            self._end(raw, parts)
            if alone:
                answer.add_body(raw, parts)
        answer.settle()

    def _take_message(self, message: _Message, raw: bytes, parts: list[Part]) -> None:
        answer = self._answer
        if message.thinking:
            answer.add_reasoning(message.thinking, raw, parts)
        if message.content:
            answer.add_text(message.content, raw, parts)
        for call in message.tool_calls or ():
            function = call.function or _Function()
            # Ollama sends whole calls, several with the same index: each one is a call of its own.
            answer.add_call(self._calls, call.id, function.name, function.arguments)
            self._calls += 1

    def _end(self, raw: bytes, parts: list[Part]) -> None:
        answer = self._answer
        try:
            document = lenient_json(raw)
        except ValueError:  # in what is not known of it
            answer.fail(_no_json(raw))
            return
        answer.ended = True
        reason = document.get("done_reason")
        answer.reason = reason if isinstance(reason, str) and reason else "stop"
        counts = {name: document[key] for key, name in _COUNTS.items() if key in document}
        if counts:
            durations = {key: document[key] for key in _DURATIONS if key in document}
            answer.add_usage({**counts, "details": durations}, parts)


def _no_json(line: bytes) -> MalformedStreamError:
    return MalformedStreamError(f"The provider sent a line of {len(line)} bytes that is not JSON.")


def _only_text(line: _Line) -> str | None:
    message = line.message
    if line.done or line.error or message is None or message.thinking or message.tool_calls:
        return None
    return message.content


def _lenient_line(document: dict[str, Any]) -> _Line:
    message = dictionary(document.get("message"))
    if message is not None:
        calls = [_lenient_call(call) for call in dictionaries(message.get("tool_calls"))]
        shaped = _Message(content_text(message.get("content")), text(message.get("thinking")), calls or None)
    else:
        shaped = None
    return _Line(shaped, text(document.get("model")), bool(document.get("done")), document.get("error"))


def _lenient_call(call: dict[str, Any]) -> _Call:
    function = dictionary(call.get("function")) or {}
    arguments = function.get("arguments")
    return _Call(
        text(call.get("id")),
        _Function(text(function.get("name")), arguments if isinstance(arguments, dict | str) else None),
    )
