"""Every recording decodes to what it means, however the network splits it."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from palaver.shared.errors import MalformedStreamError, PalaverError
from palaver.workers.providers import (
    FinishPart,
    MessagePart,
    MetadataPart,
    Part,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
)
from palaver.workers.providers.anthropic_decoder import AnthropicDecoder
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.ollama_decoder import OllamaDecoder
from palaver.workers.providers.openai_decoder import OpenAIDecoder
from tests.servers import examples
from tests.unit.providers import anthropic_recordings as messages
from tests.unit.providers.anthropic_recordings import ANTHROPIC
from tests.unit.providers.ollama_recordings import LAST, OLLAMA, said
from tests.unit.providers.recordings import DONE, OPENAI, STOP, Recording, chunk, sse

DECODERS: dict[str, Any] = {"openai": OpenAIDecoder, "ollama": OllamaDecoder, "anthropic": AnthropicDecoder}
RECORDINGS = OPENAI | OLLAMA | ANTHROPIC
SMALL = {name: recording for name, recording in RECORDINGS.items() if len(recording.data) < 4000}


@dataclass
class Outcome:
    """What came out of a decoder, without where the reads were cut."""

    text: str = ""
    reasoning: str = ""
    reason: str | None = None
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: int | None = None
    warnings: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    error: type[PalaverError] | None = None
    message: str = ""

    def take(self, parts: list[Part]) -> None:
        for part in parts:
            match part:
                case TextDelta(text):
                    text.encode()
                    self.text += text
                case ReasoningDelta(text):
                    self.reasoning += text
                case ToolCallPart(call_id, name, arguments):
                    self.calls.append((call_id, name, arguments))
                case UsagePart(usage):
                    self.tokens = usage.total_tokens
                case MessagePart(fields):
                    self.fields |= fields
                case WarningPart(code):
                    self.warnings.append(code)
                case FinishPart(reason, model):
                    assert part is parts[-1]
                    (model or "").encode()
                    self.reason = reason


def decode(recording: Recording, reads: list[bytes]) -> Outcome:
    decoder = DECODERS[recording.kind](DecoderOptions(**dict(recording.options)))
    outcome = Outcome()
    for read in reads:
        outcome.take(decoder.feed(read))
    try:
        outcome.take(decoder.finish())
    except PalaverError as error:
        outcome.error, outcome.message = type(error), error.message
    return outcome


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_means_what_it_means(name: str) -> None:
    recording = RECORDINGS[name]
    outcome = decode(recording, [recording.data])
    assert (outcome.text, outcome.reasoning) == (recording.text, recording.reasoning)
    assert (outcome.reason, outcome.error) == (recording.reason, recording.error)
    assert outcome.tokens == recording.tokens
    assert len(outcome.calls) == len(recording.calls)
    for (call_id, tool, arguments), (wanted_id, *wanted) in zip(outcome.calls, recording.calls, strict=True):
        assert call_id.startswith(wanted_id)
        assert [tool, arguments] == wanted
    assert recording.text not in outcome.message or not recording.text


@pytest.mark.parametrize("name", SMALL)
def test_every_single_split_gives_the_same(name: str) -> None:
    recording = RECORDINGS[name]
    whole = decode(recording, [recording.data])
    assert decode(recording, [recording.data[i : i + 1] for i in range(len(recording.data))]) == whole
    for cut in range(len(recording.data) + 1):
        assert decode(recording, [recording.data[:cut], recording.data[cut:]]) == whole, cut


@given(st.sampled_from(sorted(RECORDINGS)), st.data())
@settings(max_examples=examples(300), deadline=None)
def test_any_splits_give_the_same(name: str, data: st.DataObject) -> None:
    recording = RECORDINGS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(recording.data)), max_size=30)))
    reads = [recording.data[a:b] for a, b in zip([0, *cuts], [*cuts, len(recording.data)], strict=True)]
    assert decode(recording, reads) == decode(recording, [recording.data])


def spoken(kind: str, deltas: list[str], end: bytes) -> bytes:
    """A stream of these texts, in one dialect."""
    if kind == "ollama":
        return b"".join(map(said, deltas)) + LAST
    if kind == "openai":
        return sse(*map(chunk, deltas), STOP, DONE, end=end)
    stream = messages.start() + b"".join(map(messages.text, deltas)) + messages.ending()
    return stream.replace(b"\n", end)


@given(
    st.sampled_from(sorted(DECODERS)),
    st.lists(st.text(), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.data(),
)
@settings(max_examples=examples(300), deadline=None)
def test_any_text_survives(kind: str, deltas: list[str], end: bytes, data: st.DataObject) -> None:
    stream = spoken(kind, deltas, end)
    size = data.draw(st.integers(1, max(1, len(stream))))
    reads = [stream[i : i + size] for i in range(0, len(stream), size)]
    outcome = decode(Recording(stream, kind=kind), reads)
    assert outcome.text == "".join(deltas)
    assert outcome.reason == "stop"


@given(st.binary(max_size=400), st.sampled_from(sorted(DECODERS)), st.integers(1, 50))
@settings(max_examples=examples(400), deadline=None)
def test_noise_is_an_error_of_ours_and_nothing_else(noise: bytes, kind: str, size: int) -> None:
    assume(b"[DONE]" not in noise)  # with which some servers end a stream of any dialect
    for data in (
        noise,
        b"data: " + noise + b"\n\n",
        b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n' + noise,
        messages.start() + noise,
    ):
        reads = [data[i : i + size] for i in range(0, len(data), size)]
        assert decode(Recording(data, kind=kind), reads).error is not None


def test_signed_thinking_comes_back() -> None:
    thinking = (
        messages.start()
        + messages.begin(type="thinking", thinking="", signature="")
        + messages.thought("let ")
        + messages.thought("me see")
        + messages.delta(type="signature_delta", signature="c2ln")
        + messages.begin(1, type="redacted_thinking", data="Zm9v")
    )
    call = messages.begin(2, **messages.TOOL) + messages.arguments("{}", 2)
    asked = decode(Recording(b"", kind="anthropic"), [thinking + call + messages.ending("tool_use")])
    assert asked.fields["thinking_blocks"] == [
        {"type": "thinking", "thinking": "let me see", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "Zm9v"},
    ]
    assert asked.reasoning == "let me see"
    told = decode(Recording(b"", kind="anthropic"), [thinking + messages.HELLO + messages.ending()])
    assert told.fields == asked.fields


def test_a_signature_that_comes_after_its_block_has_ended_comes_back() -> None:
    thinking = (
        messages.start()
        + messages.begin(type="thinking", thinking="", signature="")
        + messages.thought("hm")
        + messages.stop()
        + messages.delta(type="signature_delta", signature="c2ln")
    )
    told = decode(Recording(b"", kind="anthropic"), [thinking + messages.HELLO + messages.ending()])
    assert told.fields["thinking_blocks"] == [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]


def test_a_block_of_thinking_is_told_before_the_words_behind_it() -> None:
    thinking = (
        messages.start()
        + messages.begin(type="thinking", thinking="", signature="")
        + messages.thought("hm")
        + messages.delta(type="signature_delta", signature="c2ln")
        + messages.stop()
    )
    parts = AnthropicDecoder(DecoderOptions()).feed(thinking + messages.HELLO)
    (told,) = [number for number, part in enumerate(parts) if isinstance(part, MessagePart)]
    (first, *_) = [number for number, part in enumerate(parts) if isinstance(part, TextDelta)]
    assert told < first


def test_what_a_message_begins_with_counts() -> None:
    decoder = AnthropicDecoder(DecoderOptions(max_event_bytes=64 * 1024))
    block = {"type": "text", "text": "x", "data": "x" * 40_000}
    begun = messages.event("message_start", message={"content": [block]})
    decoder.feed(begun)
    assert not decoder.done
    decoder.feed(begun)
    with pytest.raises(MalformedStreamError, match="more blocks"):
        decoder.finish()


def test_which_stop_sequence_has_ended_an_answer() -> None:
    decoder = AnthropicDecoder(DecoderOptions())
    delta = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    ending = messages.event("message_delta", delta=delta) + messages.END
    decoder.feed(messages.start() + messages.HELLO + ending)
    found = [part.data for part in decoder.finish() if isinstance(part, MetadataPart)]
    assert found == [{"stop_sequence": "END"}]


def test_what_the_prompt_cache_had_is_told_apart() -> None:
    decoder = AnthropicDecoder(DecoderOptions())
    stream = messages.start(input_tokens=3, cache_read_input_tokens=40, output_tokens=1)
    (first,) = (part.usage for part in decoder.feed(stream) if isinstance(part, UsagePart))
    assert (first.input_tokens, first.output_tokens) == (43, 1)  # a cancelled job has been paid for too
    parts = decoder.feed(messages.HELLO + messages.ending(output_tokens=7))
    (last,) = (part.usage for part in parts if isinstance(part, UsagePart))
    assert (last.input_tokens, last.output_tokens, last.total_tokens) == (43, 7, 50)
    assert last.details["cache_read_input_tokens"] == 40


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("plain", []),
        ("[DONE] missing", []),
        ("[DONE] and no finish reason", ["missing_finish_reason"]),
        ("bad UTF-8", ["invalid_utf8"]),
        ("anthropic: bad UTF-8", ["invalid_utf8"]),
        ("ollama: bad UTF-8", ["invalid_utf8"]),
    ],
)
def test_what_an_answer_does_not_say_for_sure_is_told(name: str, told: list[str]) -> None:
    recording = RECORDINGS[name]
    assert decode(recording, [recording.data]).warnings == told


def test_what_is_not_carried_is_told_once() -> None:
    outcome = decode(ANTHROPIC["anthropic: content of a later kind"], [messages.WHOLE])
    assert outcome.warnings == []
    recording = ANTHROPIC["anthropic: content of a later kind"]
    assert decode(recording, [recording.data]).warnings == ["content_left_out", "content_left_out"]


def test_a_body_that_was_asked_for_and_did_not_come_is_told() -> None:
    asked = (("raw_body", True),)
    body = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
    for data, kind, told in (
        (sse(chunk("hi"), STOP, DONE), "openai", ["raw_left_out"]),
        (body, "openai", []),
        (b'{"content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn"}', "anthropic", []),
        (said("hi") + LAST, "ollama", ["raw_left_out"]),
        (LAST, "ollama", []),
    ):
        recording = Recording(data, kind=kind, options=asked)
        assert decode(recording, [recording.data]).warnings == told


@given(st.text("\n a", max_size=6), st.text("\n a", max_size=6), st.integers(1, 3))
def test_white_space_that_could_not_be_sent_is_not_said_twice(end: str, goes_on: str, size: int) -> None:
    after = end[len(end.rstrip()) :]
    deltas = [goes_on[i : i + size] for i in range(0, len(goes_on), size)]
    recording = Recording(
        messages.start() + b"".join(map(messages.text, deltas)) + messages.ending(),
        kind="anthropic",
        options=(("after", after),),
    )
    said_again = end.rstrip() + goes_on
    outcome = decode(recording, [recording.data])
    if said_again.startswith(end):
        assert end + outcome.text == said_again
    else:
        assert goes_on.endswith(outcome.text)


KEYS = [
    "choices",
    "delta",
    "message",
    "content",
    "tool_calls",
    "function",
    "index",
    "id",
    "name",
    "arguments",
]
KEYS += ["usage", "error", "model", "finish_reason", "done", "thinking", "x_groq", "code", "total_tokens"]
KEYS += ["type", "text", "content_block", "partial_json", "signature", "stop_reason", "input", "data"]
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "tool_use",
    "thinking",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from(sorted(DECODERS)))
@settings(max_examples=examples(600), deadline=None)
def test_json_of_any_shape_is_taken_or_refused_but_never_breaks_the_decoder(value: Any, kind: str) -> None:
    text = json.dumps(value).encode()
    data = text + b"\n" if kind == "ollama" else b"data: " + text + b"\n\n"
    decode(Recording(data, kind=kind), [data])
