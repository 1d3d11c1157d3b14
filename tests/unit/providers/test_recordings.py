"""Every recording decodes to what it means, however the network splits it."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palaver.shared.errors import PalaverError
from palaver.workers.providers import (
    FinishPart,
    Part,
    ReasoningDelta,
    TextDelta,
    ToolCallPart,
    UsagePart,
    WarningPart,
)
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.ollama_decoder import OllamaDecoder
from palaver.workers.providers.openai_decoder import OpenAIDecoder
from tests.unit.providers.recordings import DONE, RECORDINGS, STOP, Recording, chunk, sse

DECODERS: dict[str, Any] = {"openai": OpenAIDecoder, "ollama": OllamaDecoder}
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
@settings(max_examples=300, deadline=None)
def test_any_splits_give_the_same(name: str, data: st.DataObject) -> None:
    recording = RECORDINGS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(recording.data)), max_size=30)))
    reads = [recording.data[a:b] for a, b in zip([0, *cuts], [*cuts, len(recording.data)], strict=True)]
    assert decode(recording, reads) == decode(recording, [recording.data])


@given(st.lists(st.text(), max_size=12), st.data())
@settings(max_examples=200, deadline=None)
def test_any_text_survives(deltas: list[str], data: st.DataObject) -> None:
    stream = sse(
        *(chunk(delta) for delta in deltas),
        STOP,
        DONE,
        end=data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"])),
    )
    size = data.draw(st.integers(1, max(1, len(stream))))
    outcome = decode(Recording(stream), [stream[i : i + size] for i in range(0, len(stream), size)])
    assert outcome.text == "".join(deltas)
    assert outcome.reason == "stop"


@given(st.binary(max_size=400), st.sampled_from(["openai", "ollama"]), st.integers(1, 50))
@settings(max_examples=400, deadline=None)
def test_noise_is_an_error_of_ours_and_nothing_else(noise: bytes, kind: str, size: int) -> None:
    for data in (
        noise,
        b"data: " + noise + b"\n\n",
        b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n' + noise,
    ):
        reads = [data[i : i + size] for i in range(0, len(data), size)]
        assert decode(Recording(data, kind=kind), reads).error is not None


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

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(json_values, st.sampled_from(["openai", "ollama"]))
@settings(max_examples=400, deadline=None)
def test_json_of_any_shape_is_taken_or_refused_but_never_breaks_the_decoder(value: Any, kind: str) -> None:
    text = json.dumps(value).encode()
    data = (b"data: " + text + b"\n\n") if kind == "openai" else text + b"\n"
    decode(Recording(data, kind=kind), [data])
