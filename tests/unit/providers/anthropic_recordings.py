"""What servers of the messages API send, as bytes, and what it means. Hand-made after real servers."""

import json
from typing import Any

from palaver.shared.errors import (
    MalformedStreamError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from tests.unit.providers.recordings import EMOJI, Recording

KIND = "anthropic"


def event(kind: str, *, named: bool = True, end: bytes = b"\n", **fields: Any) -> bytes:
    name = b"event: " + kind.encode() + end if named else b""
    return name + b"data: " + json.dumps({"type": kind, **fields}).encode() + end * 2


def raw(data: bytes) -> bytes:
    return b"event: content_block_delta\ndata: " + data + b"\n\n"


def start(**usage: int) -> bytes:
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    counts = usage or {"input_tokens": 3, "output_tokens": 1}
    return event("message_start", message={**message, "stop_reason": None, "usage": counts})


def begin(index: int = 0, **block: Any) -> bytes:
    return event("content_block_start", index=index, content_block=block or {"type": "text", "text": ""})


def delta(index: int = 0, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


def text(said: str, index: int = 0) -> bytes:
    return delta(index, type="text_delta", text=said)


def thought(said: str, index: int = 0) -> bytes:
    return delta(index, type="thinking_delta", thinking=said)


def arguments(piece: Any, index: int = 0) -> bytes:
    return delta(index, type="input_json_delta", partial_json=piece)


def stop(index: int = 0) -> bytes:
    return event("content_block_stop", index=index)


def ending(reason: Any = "end_turn", **usage: int) -> bytes:
    counts = usage or {"output_tokens": 2}
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=counts) + END


END = event("message_stop")
PING = event("ping")
HELLO = begin() + text("Hel") + text("lo") + stop()
WHOLE = start() + HELLO + ending()
TOOL: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
BERN = (("toolu_1", "weather", {"city": "Bern"}),)


def hello(data: bytes, **more: Any) -> Recording:
    return Recording(data, "Hello", tokens=more.pop("tokens", 5), kind=KIND, **more)


def called(*blocks: bytes, reason: str = "tool_use", **more: Any) -> Recording:
    more = {"reason": "tool_calls", "calls": BERN, **more}
    return Recording(start() + b"".join(blocks) + ending(reason), tokens=5, kind=KIND, **more)


def body(**fields: Any) -> bytes:
    usage = {"input_tokens": 3, "output_tokens": 2}
    message = {"type": "message", "model": "m", "content": [{"type": "text", "text": "Hello"}]}
    return json.dumps({**message, "stop_reason": "end_turn", "usage": usage, **fields}).encode()


ANTHROPIC: dict[str, Recording] = {
    # the frame
    "plain": hello(WHOLE),
    "no space after the colon": hello(WHOLE.replace(b"data: ", b"data:").replace(b"event: ", b"event:")),
    "byte order mark": hello(b"\xef\xbb\xbf" + WHOLE),
    "CRLF": hello(WHOLE.replace(b"\n", b"\r\n")),
    "CR": hello(WHOLE.replace(b"\n", b"\r")),
    "events without names": hello(WHOLE.replace(b"event: ", b": ")),
    "types only in the names": hello(
        b"event: message_start\ndata: " + b'{"message":{"model":"m","usage":{"input_tokens":3}}}\n\n'
        b'event: content_block_delta\ndata: {"delta":{"text":"Hello"}}\n\n' + ending()
    ),
    "comments and pings": hello(b": hi\n\n" + start() + PING + HELLO + b": there\n\n" + PING + ending()),
    "data over several lines": hello(
        start() + begin() + b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta",\ndata: "delta":{"type":"text_delta","text":"Hello"}}\n\n'
        + ending()
    ),
    "raw UTF-8 and line separators": Recording(
        start()
        + raw(b'{"type":"content_block_delta","index":0,"delta":{"text":"' + EMOJI.encode() + b'"}}')
        + ending(),
        EMOJI,
        tokens=5,
        kind=KIND,
    ),
    "escaped characters": Recording(start() + begin() + text(EMOJI) + ending(), EMOJI, tokens=5, kind=KIND),
    "half a character in each delta": Recording(
        start()
        + raw(b'{"type":"content_block_delta","delta":{"text":"x\\ud83d"}}')
        + raw(b'{"type":"content_block_delta","delta":{"text":"\\ude00y"}}')
        + ending(),
        "x😀y",
        tokens=5,
        kind=KIND,
    ),
    "bad UTF-8": Recording(
        start() + raw(b'{"type":"content_block_delta","delta":{"text":"x\xff"}}') + ending(),
        "x\ufffd",
        tokens=5,
        kind=KIND,
    ),
    "1 MB in one event": Recording(
        start() + begin() + text("é" * 100) + text("x" * 2**20) + ending(),
        "é" * 100 + "x" * 2**20,
        tokens=5,
        kind=KIND,
    ),
    "last event without its blank line": hello(WHOLE.rstrip(b"\n")),
    "[DONE] of a gateway": hello(WHOLE + b"data: [DONE]\n\n"),
    "[DONE] instead of the end": hello(
        start() + HELLO + event("message_delta", usage={"output_tokens": 2}) + b"data: [DONE]\n\n"
    ),
    # what is new to us
    "events of a later version": hello(start() + event("weather", sun=True) + HELLO + ending()),
    "content of a later kind": hello(
        start()
        + begin(type="server_tool_use", id="s", name="web_search", input={})
        + arguments('{"query":"x"}')
        + stop()
        + begin(1)
        + delta(1, type="citations_delta", citation={"cited_text": "no"})
        + text("Hello", 1)
        + ending()
    ),
    # the end
    "no message_stop": hello(start() + HELLO + ending().removesuffix(END)),
    "no stop reason": hello(start() + HELLO + ending(None)),
    "empty stop reason": hello(start() + HELLO + ending("")),
    "unknown stop reason": hello(start() + HELLO + ending("bored")),
    "max_tokens": hello(start() + HELLO + ending("max_tokens"), reason="length"),
    "context window": hello(start() + HELLO + ending("model_context_window_exceeded"), reason="length"),
    "pause_turn": hello(start() + HELLO + ending("pause_turn"), reason="length"),
    "refusal": hello(start() + HELLO + ending("refusal"), reason="content_filter"),
    "stop sequence": hello(start() + HELLO + ending("stop_sequence")),
    "nothing said": Recording(start() + ending(), tokens=5, kind=KIND),
    # usage
    "usage whole at the end": hello(
        start(input_tokens=0, output_tokens=0) + HELLO + ending(input_tokens=3, output_tokens=2)
    ),
    "usage repeated as 0": hello(start() + HELLO + ending(input_tokens=0, output_tokens=2)),
    "prompt cache": hello(
        start(input_tokens=3, cache_read_input_tokens=40, cache_creation_input_tokens=5, output_tokens=1)
        + HELLO
        + ending(),
        tokens=50,
    ),
    "no usage": hello(
        event("message_start", message={"model": "m"})
        + HELLO
        + event("message_delta", delta={"stop_reason": "end_turn"}),
        tokens=None,
    ),
    "usage that makes no sense": hello(
        event("message_start", message={"usage": {"input_tokens": "many"}})
        + HELLO
        + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": -1}),
        tokens=None,
    ),
    # thinking
    "thinking": hello(
        start()
        + begin(type="thinking", thinking="", signature="")
        + thought("h")
        + thought("m")
        + delta(type="signature_delta", signature="c2ln")
        + stop()
        + begin(1)
        + text("Hello", 1)
        + ending(),
        reasoning="hm",
    ),
    "thinking that is not shown": hello(
        start()
        + begin(type="redacted_thinking", data="Zm9v")
        + stop()
        + begin(1)
        + text("Hello", 1)
        + ending()
    ),
    "thinking and text begun with a piece": hello(
        start()
        + begin(type="thinking", thinking="hm")
        + begin(1, type="text", text="Hel")
        + text("lo")
        + ending(),
        reasoning="hm",
    ),
    "half a character of thinking": hello(
        start()
        + raw(b'{"type":"content_block_delta","delta":{"thinking":"\\ud83d"}}')
        + raw(b'{"type":"content_block_delta","delta":{"thinking":"\\ude00"}}')
        + HELLO
        + ending(),
        reasoning="😀",
    ),
    "think tags": hello(
        start() + begin() + text("<thi") + text("nk>hm</think>Hel") + text("lo") + ending(),
        reasoning="hm",
        options=(("think_tags", True),),
    ),
    # tools
    "tool use": called(
        begin(**TOOL), arguments(""), arguments('{"ci'), arguments('ty":"Be'), arguments('rn"}'), stop()
    ),
    "tool use without arguments": called(begin(**TOOL), stop(), calls=(("toolu_1", "weather", {}),)),
    "arguments whole at the beginning": called(begin(**{**TOOL, "input": {"city": "Bern"}}), stop()),
    "arguments begun at the beginning, and whole in pieces": called(
        begin(**{**TOOL, "input": {"city": ""}}), arguments('{"city":'), arguments('"Bern"}')
    ),
    "arguments as an object": called(begin(**TOOL), arguments({"city": "Bern"})),
    "arguments without an index": called(
        begin(**TOOL),
        event("content_block_delta", delta={"type": "input_json_delta", "partial_json": '{"city":"Bern"}'}),
    ),
    "one index for all blocks": called(
        begin(**TOOL),
        arguments('{"city":"Bern"}'),
        stop(),
        begin(**{**TOOL, "id": "toolu_2", "name": "time"}),
        arguments("{}"),
        stop(),
        calls=(*BERN, ("toolu_2", "time", {})),
    ),
    "blocks interleaved": called(
        begin(0, **TOOL),
        begin(1, **{**TOOL, "id": "toolu_2"}),
        arguments('{"city":', 1),
        arguments('{"city":"Bern"}', 0),
        arguments('"Basel"}', 1),
        calls=(*BERN, ("toolu_2", "weather", {"city": "Basel"})),
    ),
    "a call without an id": called(
        begin(type="tool_use", name="weather"),
        arguments('{"city":"Bern"}'),
        calls=(("call_", "weather", {"city": "Bern"}),),
    ),
    "a call and end_turn": called(begin(**TOOL), arguments('{"city":"Bern"}'), reason="end_turn"),
    "arguments that are no JSON": called(
        begin(**TOOL), arguments("{oops"), calls=(("toolu_1", "weather", "{oops"),)
    ),
    "arguments cut by the limit": Recording(
        start() + begin(**TOOL) + arguments('{"city') + ending("max_tokens"),
        reason="length",
        tokens=5,
        kind=KIND,
    ),
    # whole bodies
    "a JSON body": hello(b"\n" + body() + b"\n"),
    "a JSON body with all kinds of content": Recording(
        body(
            content=[
                {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                {"type": "text", "text": "Hel"},
                {"type": "text", "text": "lo"},
                {**TOOL, "input": {"city": "Bern"}},
            ],
            stop_reason="tool_use",
        ),
        "Hello",
        "hm",
        "tool_calls",
        BERN,
        5,
        kind=KIND,
    ),
    "a JSON body whose content is a text": hello(body(content="Hello")),
    "a JSON body without a stop reason": hello(body(stop_reason=None)),
    "a JSON body with an error": Recording(
        b'{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}',
        reason=None,
        error=RateLimitError,
        kind=KIND,
    ),
    "a web page": Recording(
        b"<!DOCTYPE html>\n<html></html>", reason=None, error=MalformedStreamError, kind=KIND
    ),
}


def failing(data: bytes, error: Any = ServerError, said: str = "Hello", **more: Any) -> Recording:
    more = {"tokens": 4, **more}
    return Recording(data, said, reason=None, error=error, kind=KIND, **more)


ERROR = {"type": "overloaded_error", "message": "fell over"}
BEGUN = start() + HELLO

ANTHROPIC |= {
    "ends early": failing(BEGUN, StreamInterruptedError),
    "ends inside an event": failing(BEGUN + b'event: message_delta\ndata: {"ty', StreamInterruptedError),
    "nothing at all": failing(b"", StreamInterruptedError, "", tokens=None),
    "pings only": failing(PING * 2, StreamInterruptedError, "", tokens=None),
    "the end only": failing(END, MalformedStreamError, "", tokens=None),
    "chunks of another dialect": failing(
        b'data: {"choices":[{"delta":{"content":"Hello"}}]}\n\n', MalformedStreamError, "", tokens=None
    ),
    "an error event": failing(BEGUN + event("error", error=ERROR)),
    "an error without its type": failing(BEGUN + b'event: error\ndata: {"message":"fell over"}\n\n'),
    "an error of another dialect": failing(
        BEGUN + b'data: {"error":{"message":"no","code":429}}\n\n', RateLimitError
    ),
    "an error on a bare line": failing(BEGUN + b'{"error":{"message":"fell over"}}\n\n'),
    "not JSON": failing(BEGUN + b"data: {oops\n\n", MalformedStreamError),
    "a number as an event": failing(BEGUN + b"data: 5\n\n" + ending(), MalformedStreamError),
    "a list as an event": failing(BEGUN + b"data: [1]\n\n" + ending(), MalformedStreamError),
    "a number as text": failing(BEGUN + delta(type="text_delta", text=5) + ending(), MalformedStreamError),
    "an event beyond the bound": failing(
        BEGUN + text("x" * 1000), MalformedStreamError, options=(("max_event_bytes", 500),)
    ),
    "a call beyond the bound, in small events": failing(
        BEGUN + begin(1, **TOOL) + arguments("x" * 20, 1) * 30 + ending("tool_use"),
        MalformedStreamError,
        options=(("max_event_bytes", 500),),
    ),
    "blocks without end": failing(
        BEGUN + begin(1) * 30 + ending(), MalformedStreamError, options=(("max_event_bytes", 500),)
    ),
    "a signature without end": failing(
        BEGUN + delta(1, type="signature_delta", signature="x" * 20) * 30 + ending(),
        MalformedStreamError,
        options=(("max_event_bytes", 500),),
    ),
    "a JSON body beyond the bound": failing(
        body(more="x" * 1000), MalformedStreamError, "", tokens=None, options=(("max_event_bytes", 500),)
    ),
    "a JSON body with a number as text": failing(
        body(content=[{"type": "text", "text": 5}]), MalformedStreamError, "", tokens=None
    ),
    "a number without end in an error": failing(
        BEGUN + b'data: {"type":"error","error":{},"n":' + b"1" * 5000 + b"}\n\n"
    ),
    "nested too deeply": failing(BEGUN + b'data: {"a":' + b'{"a":' * 20_000 + b"\n\n", MalformedStreamError),
}

ANTHROPIC = {f"anthropic: {name}": recording for name, recording in ANTHROPIC.items()}
