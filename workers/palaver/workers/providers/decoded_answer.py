"""What every decoder knows about the answer so far, and how it ends."""

from typing import Any, Final

import orjson

from palaver.shared.errors import MalformedStreamError, PalaverError, StreamInterruptedError
from palaver.workers.providers import wire
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.lenient import is_utf8, lenient_json
from palaver.workers.providers.parts import FinishPart, Part, RawPart, ReasoningDelta, TextDelta, WarningPart
from palaver.workers.providers.text import DeltaText, repaired
from palaver.workers.providers.tool_calls import ToolCallMerger

_SILENT_EVENTS: Final = 4
"""Of the largest size: fragments of a call bring no part, and are ten times what they hold."""
_MAX_RAW_BYTES: Final = 64 * 1024
"""A provider's own event or body above this is not passed on, even if asked for."""

GUESSED: Final = frozenset(("missing_finish_reason", "unknown_finish_reason"))
"""Codes of the warnings that an answer may not be whole, although nothing else says so."""


def _is_json(data: bytes) -> bool:
    """Whether every reader can parse this; the decoders here are more lenient than that."""
    try:
        orjson.loads(data)
    except ValueError:
        return False
    return True


class DecodedAnswer:
    """The state of one answer. Its methods add parts to the list of the read in which they came."""

    def __init__(self, options: DecoderOptions) -> None:
        self.text = DeltaText(options.splitter(), after=options.after)
        self.reasoning = DeltaText()
        self.tools = ToolCallMerger()
        self.begun = False  # something of the answer came
        self.ended = False  # the format's own end mark came
        self.reason: str | None = None  # the finish reason in the dialect's words
        self.model: str | None = None
        self.failure: PalaverError | None = None
        self.plain = False  # a common text delta can pass as it is
        self._bad_text = False  # bytes that are no UTF-8 were replaced
        self._raw_events = options.raw_events
        self._raw_body = options.raw_body
        self._limit = options.max_event_bytes
        self._held = 0  # characters that are kept until the answer ends, beside the calls
        self._has_body = False  # it came as one
        self._not_kept: tuple[str, ...] = ()  # what could not be passed on although it was asked for

    def settle(self) -> None:
        """Find out whether a common text delta can pass as it is; to be called after anything uncommon."""
        # The first delta never is: it tells the model.
        off = self._raw_events or self.done or not self.begun
        self.plain = not off and self.text.idle

    def fail(self, error: PalaverError) -> None:
        """The provider failed; the first failure counts."""
        self.failure = self.failure or error
        self.settle()

    @property
    def done(self) -> bool:
        """Nothing that comes now can change the answer."""
        return self.ended or self.failure is not None

    @property
    def complete(self) -> bool:
        """The model finished, whatever the connection does now."""
        return self.failure is None and (self.reason is not None or (self.ended and self.begun))

    def parse(self, data: bytes) -> Any:
        """JSON as servers really send it; what is no UTF-8 in it is told when the answer ends. Raises
        ValueError.
        """
        document = lenient_json(data)
        self._bad_text = self._bad_text or not is_utf8(data)
        return document

    def add_text(self, text: str, raw: bytes | None, parts: list[Part]) -> None:
        """A delta of the visible answer."""
        self._extend(self.text.feed(text), raw, parts)

    def add_reasoning(self, text: str, raw: bytes | None, parts: list[Part]) -> None:
        """A delta of thinking that the provider keeps apart itself."""
        self._extend([(True, thought) for _, thought in self.reasoning.feed(text)], raw, parts)

    def add_call(self, index: int | None, call_id: str | None, name: str | None, arguments: Any) -> None:
        """A fragment of a call; see `ToolCallMerger.feed`."""
        self.tools.feed(index, call_id, name, arguments)
        self.hold(0)

    def hold(self, size: int) -> None:
        """Count what a decoder keeps until the answer ends: a stream may go on for ever, in small events."""
        self._held += size
        if self._held + self.tools.size > self._limit:
            self.fail(
                MalformedStreamError(
                    f"The provider sent more blocks or calls of tools than {self._limit} bytes hold. "
                    "Raise max_event_bytes in the profile's options if so many, or so large ones, are meant."
                )
            )

    def add_usage(self, counts: Any, parts: list[Part]) -> None:
        """Token counts, as soon as they are known: a cancelled job has been paid for too."""
        if counts and (part := wire.usage_part(counts)):
            parts.append(part)

    def add_body(self, body: bytes, parts: list[Part]) -> None:
        """The provider's own words, where the whole answer came as one body and they were asked for."""
        self._has_body = True
        if self._raw_body and self._kept("return_raw", body, parts):
            parts.append(RawPart(body))

    def finish(self, reasons: dict[str, str]) -> list[Part]:
        """The parts that end a complete answer. Raises the failure, or StreamInterruptedError."""
        if self.failure is not None:
            raise self.failure
        if not self.complete:
            raise StreamInterruptedError("The provider's stream ended before the answer did.")
        parts: list[Part] = []
        self._extend(self.text.finish(), None, parts)
        self._extend([(True, thought) for _, thought in self.reasoning.finish()], None, parts)
        if self._bad_text:
            told = "What the provider sent is not all UTF-8; what is not came out as U+FFFD."
            parts.append(WarningPart("invalid_utf8", told))
        if self._raw_body and not self._has_body:
            told = "The provider answered with a stream; there is no body to be returned."
            parts.append(WarningPart("raw_left_out", told, "return_raw"))
        reason = self._finish_reason(reasons, parts)
        # Several servers end with stop although they ask for tools.
        reason = "tool_calls" if reason == "stop" and self.tools else reason
        parts.extend(self.tools.finish(truncated=reason in ("length", "content_filter")))
        parts.append(FinishPart(reason, repaired(self.model) if self.model else None))
        return parts

    def _finish_reason(self, reasons: dict[str, str], parts: list[Part]) -> str:
        """In our words. Several servers give none; with its end mark such an answer still counts as whole."""
        if self.reason is None:
            told = "The provider gave no finish reason, which is taken as stop: the answer may be cut off."
            parts.append(WarningPart("missing_finish_reason", told))
        elif self.reason not in reasons:
            told = f"The provider's finish reason {repaired(self.reason)[:64]!r} is taken as stop."
            parts.append(WarningPart("unknown_finish_reason", told))
        return reasons.get(self.reason or "stop", "stop")

    def _extend(self, pairs: list[tuple[bool, str]], raw: bytes | None, parts: list[Part]) -> None:
        if raw is not None and not (self._raw_events and self._kept("return_raw_events", raw, parts)):
            raw = None
        for thinking, text in pairs:
            parts.append(ReasoningDelta(text, raw) if thinking else TextDelta(text, raw))
            raw = None  # the event is told once, beside the first delta that it brought

    def _kept(self, param: str, raw: bytes, parts: list[Part]) -> bool:
        """Whether the provider's own words can be passed on; told once where they cannot."""
        if len(raw) <= _MAX_RAW_BYTES and _is_json(raw):
            return True
        if param not in self._not_kept:
            self._not_kept += (param,)
            told = f"The provider's own words are more than {_MAX_RAW_BYTES} bytes, or no JSON; left out."
            parts.append(WarningPart("raw_left_out", told, param))
        return False


class AnswerDecoder:
    """What is the same in the `base.Decoder` of every dialect."""

    def __init__(self, options: DecoderOptions) -> None:
        self._answer = DecodedAnswer(options)
        self.most_silent = _SILENT_EVENTS * options.max_event_bytes
        """See `Decoder.most_silent`."""

    @property
    def done(self) -> bool:
        """See `Decoder.done`."""
        return self._answer.done

    @property
    def complete(self) -> bool:
        """See `Decoder.complete`."""
        return self._answer.complete
