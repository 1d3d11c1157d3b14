"""What servers of the OpenAI dialect send, as bytes, and what it means. Hand-made after real servers."""

import json
from dataclasses import dataclass
from typing import Any

from palaver.shared.errors import (
    MalformedStreamError,
    PalaverError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)


@dataclass(frozen=True)
class Recording:
    """One response body of one dialect (with decoder options), and what must come out of it."""

    data: bytes
    text: str = ""
    reasoning: str = ""
    reason: str | None = "stop"  # None: it fails
    calls: tuple[tuple[str, str, Any], ...] = ()
    tokens: int | None = None
    error: type[PalaverError] | None = None
    options: tuple[tuple[str, Any], ...] = ()
    kind: str = "openai"


def chunk(content: str | None = None, finish: Any = None, **more: Any) -> bytes:
    delta = more.pop("delta", {"content": content} if content is not None else {})
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"model": "m", "choices": [choice], **more}).encode()


def sse(*events: bytes, end: bytes = b"\n", prefix: bytes = b"data: ") -> bytes:
    return b"".join(prefix + event + end * 2 for event in events)


def fragments(*calls: dict[str, Any]) -> bytes:
    return chunk(delta={"tool_calls": list(calls)})


DONE = b"[DONE]"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
HELLO = (chunk("Hel"), chunk("lo"))
STOP = chunk(finish="stop")
WEATHER = {"name": "weather", "arguments": '{"city":"Bern"}'}
EMOJI = "a👩‍🚀语\u2028\u0085\ufeffz"


def _unreadable(event: bytes) -> Recording:
    """An event that carries no readable text, in the middle of a stream that ends as if all were well."""
    data = sse(*HELLO, event, STOP, DONE)
    return Recording(data, "Hello", reason=None, error=MalformedStreamError)


OPENAI: dict[str, Recording] = {
    # the frame
    "plain": Recording(sse(*HELLO, STOP, DONE), "Hello"),
    "no space after data:": Recording(sse(*HELLO, STOP, DONE, prefix=b"data:"), "Hello"),
    "byte order mark": Recording(b"\xef\xbb\xbf" + sse(*HELLO, STOP, DONE), "Hello"),
    "CRLF": Recording(sse(*HELLO, STOP, DONE, end=b"\r\n"), "Hello"),
    "CR": Recording(sse(*HELLO, STOP, DONE, end=b"\r"), "Hello"),
    "comments, ids, retries": Recording(
        b": OPENROUTER PROCESSING\n\nid: 7\nretry: 10\n" + sse(*HELLO) + b":\n\n" + sse(STOP, DONE), "Hello"
    ),
    "events with a name": Recording(
        b"event: message\n" + sse(*HELLO, STOP) + b"event: done\n" + sse(DONE), "Hello"
    ),
    "data over several lines": Recording(
        b'data: {"model":"m","choices":\ndata: [{"index":0,\ndata: "delta":{"content":"Hello"}}]}\n\n'
        + sse(STOP, DONE),
        "Hello",
    ),
    "raw UTF-8 and line separators": Recording(
        sse(b'{"choices":[{"delta":{"content":"' + EMOJI.encode() + b'"}}]}', STOP, DONE), EMOJI
    ),
    "escaped characters": Recording(sse(chunk(EMOJI), STOP, DONE), EMOJI),
    "last event without its blank line": Recording(sse(*HELLO, STOP) + b"data: [DONE]", "Hello"),
    "empty data and pings": Recording(
        b"data:\n\ndata: \n\nevent: ping\ndata: {}\n\n" + sse(*HELLO, STOP, DONE), "Hello"
    ),
    # the end
    "[DONE] spaced": Recording(sse(*HELLO, STOP, b"  [DONE] "), "Hello"),
    "[DONE] missing": Recording(sse(*HELLO, STOP), "Hello"),
    "[DONE] and no finish reason": Recording(sse(*HELLO, DONE), "Hello"),
    "finish reason empty, then given": Recording(
        sse(chunk("Hello", ""), chunk(finish="length"), DONE), "Hello", reason="length"
    ),
    "finish reason absent": Recording(
        sse(b'{"choices":[{"delta":{"content":"Hello"}}]}', STOP, DONE), "Hello"
    ),
    "finish reason with the last text": Recording(sse(chunk("Hel"), chunk("lo", "stop")), "Hello"),
    "finish reason unknown": Recording(sse(*HELLO, chunk(finish="bored"), DONE), "Hello"),
    "finish reason of another dialect": Recording(
        sse(*HELLO, chunk(finish="max_tokens")), "Hello", reason="length"
    ),
    "content filter": Recording(
        sse(*HELLO, chunk(finish="content_filter"), DONE), "Hello", reason="content_filter"
    ),
    "nothing said": Recording(sse(chunk(delta={"role": "assistant"}), STOP, DONE)),
    "the filter's verdict on the prompt first (Azure)": Recording(
        sse(
            b'{"choices":[],"id":"","model":"","prompt_filter_results":[{"prompt_index":0}]}',
            chunk(delta={"role": "assistant", "content": ""}),
            *HELLO,
            STOP,
            DONE,
        ),
        "Hello",
    ),
    "content null beside a role": Recording(
        sse(chunk(delta={"role": "assistant", "content": None}), *HELLO, STOP, DONE), "Hello"
    ),
    # usage
    "usage with empty choices": Recording(
        sse(*HELLO, STOP, json.dumps({"choices": [], "usage": USAGE}).encode(), DONE), "Hello", tokens=5
    ),
    "usage on the last event": Recording(
        sse(*HELLO, chunk(finish="stop", usage=USAGE), DONE), "Hello", tokens=5
    ),
    "usage after [DONE]": Recording(
        sse(*HELLO, STOP, DONE, json.dumps({"choices": [], "usage": USAGE}).encode()), "Hello", tokens=5
    ),
    "usage on every event": Recording(
        sse(
            chunk("Hel", usage=None),
            chunk("lo", usage={**USAGE, "total_tokens": 4}),
            chunk(finish="stop", usage=USAGE),
        ),
        "Hello",
        tokens=5,
    ),
    "usage of Groq": Recording(
        sse(*HELLO, chunk(finish="stop", x_groq={"usage": USAGE}), DONE), "Hello", tokens=5
    ),
    "usage that makes no sense": Recording(
        sse(*HELLO, chunk(finish="stop", usage={"prompt_tokens": -1}), DONE), "Hello"
    ),
    # text
    "half a character in each delta": Recording(
        sse(
            *(
                b'{"choices":[{"index":0,"delta":{"content":"%s"}}]}' % half
                for half in (b"x\\ud83d", b"\\ude00y")
            ),
            STOP,
        ),
        "x😀y",
    ),
    "a half character alone": Recording(
        sse(b'{"choices":[{"index":0,"delta":{"content":"x\\ud83d"}}]}', chunk("y"), STOP), "x\ufffdy"
    ),
    "bad UTF-8": Recording(sse(b'{"choices":[{"index":0,"delta":{"content":"x\xff"}}]}', STOP), "x\ufffd"),
    "control characters": Recording(
        sse(b'{"choices":[{"index":0,"delta":{"content":"a\x01\tb"}}]}', STOP), "a\x01\tb"
    ),
    "content as a list": Recording(
        sse(
            chunk(delta={"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
            chunk(delta={"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}),
            STOP,
        ),
        "Hello",
        "hm",
    ),
    "refusal": Recording(sse(chunk(delta={"refusal": "I will not."}), STOP), "I will not."),
    "other choices": Recording(
        sse(json.dumps({"choices": [{"index": 1, "delta": {"content": "no"}}]}).encode(), *HELLO, STOP),
        "Hello",
    ),
    "message repeated at the end": Recording(
        sse(
            *HELLO,
            json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}).encode(),
        ),
        "Hello",
    ),
    "1 MB in one event": Recording(
        sse(chunk("é" * 100), chunk("x" * 2**20), STOP, DONE), "é" * 100 + "x" * 2**20
    ),
    # reasoning
    "reasoning_content": Recording(
        sse(chunk(delta={"reasoning_content": "hm"}), *HELLO, STOP), "Hello", "hm"
    ),
    "reasoning": Recording(sse(chunk(delta={"reasoning": "hm", "content": ""}), *HELLO, STOP), "Hello", "hm"),
    "reasoning under both names": Recording(
        sse(chunk(delta={"reasoning": "hm", "reasoning_content": "hm"}), *HELLO, STOP), "Hello", "hm"
    ),
    "think tags": Recording(
        sse(*map(chunk, ("\n<th", "ink>h", "m</", "thi", "nk>", "Hel", "lo <think>")), STOP),
        "Hello <think>",
        "hm",
        options=(("think_tags", True),),
    ),
    "white space without end where a tag may come": Recording(
        sse(*map(chunk, ["\n" * 40] * 30), b"{oops"),
        "\n" * 1200,
        reason=None,
        error=MalformedStreamError,
        options=(("think_tags", True),),
    ),
    "think tags of which the prompt has the first": Recording(
        sse(*map(chunk, ("\nh", "m</thi", "nk>", "Hel", "lo </think>")), STOP),
        "Hello </think>",
        "\nhm",
        options=(("think_tags", True), ("think_open", True)),
    ),
    "think tags of which the prompt may have the first": Recording(
        sse(*map(chunk, ("\n<th", "ink>h", "m</think>Hello")), STOP),
        "Hello",
        "hm",
        options=(("think_tags", True), ("think_open", True)),
    ),
    "a think tag that nobody closes": Recording(
        sse(*map(chunk, (" ", "h", "m")), STOP),
        "",
        " hm",
        options=(("think_tags", True), ("think_open", True)),
    ),
    "nothing but white space where a think tag is open": Recording(
        sse(chunk(" "), STOP), "", " ", options=(("think_tags", True), ("think_open", True))
    ),
    "think tags not asked for": Recording(sse(chunk("<think>hm</think>"), STOP), "<think>hm</think>"),
    # tool calls
    "tool call in fragments": Recording(
        sse(
            fragments(
                {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
            ),
            fragments({"index": 0, "function": {"arguments": '{"city":'}}),
            fragments({"index": 0, "function": {"arguments": '"Bern"}'}}),
            chunk(finish="tool_calls"),
            DONE,
        ),
        reason="tool_calls",
        calls=(("c1", "weather", {"city": "Bern"}),),
    ),
    "tool calls interleaved": Recording(
        sse(
            fragments({"index": 1, "id": "b", "function": {"name": "two", "arguments": "{"}}),
            fragments({"index": 0, "id": "a", "function": {"name": "one"}}),
            fragments(
                {"index": 1, "function": {"arguments": "}"}}, {"index": 0, "function": {"arguments": None}}
            ),
            chunk(finish="tool_calls"),
        ),
        reason="tool_calls",
        calls=(("b", "two", {}), ("a", "one", {})),
    ),
    "id and name repeated with every fragment": Recording(
        sse(
            *(
                fragments({"index": 0, "id": "c1", "function": {"name": "weather", "arguments": piece}})
                for piece in ('{"ci', 'ty":"Bern"}')
            ),
            chunk(finish="tool_calls"),
        ),
        reason="tool_calls",
        calls=(("c1", "weather", {"city": "Bern"}),),
    ),
    "one index for all calls": Recording(
        sse(
            fragments({"index": 0, "id": "a", "function": WEATHER}),
            fragments({"index": 0, "id": "b", "function": WEATHER}),
            STOP,
        ),
        reason="tool_calls",
        calls=(("a", "weather", {"city": "Bern"}), ("b", "weather", {"city": "Bern"})),
    ),
    "no index": Recording(
        sse(
            fragments({"id": "a", "function": {"name": "weather", "arguments": '{"city"'}}),
            fragments({"function": {"arguments": ':"Bern"}'}}),
            fragments({"id": "b", "function": {"name": "time"}}),
            STOP,
        ),
        reason="tool_calls",
        calls=(("a", "weather", {"city": "Bern"}), ("b", "time", {})),
    ),
    "arguments as an object": Recording(
        sse(
            fragments({"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": [1, None]}}}), STOP
        ),
        reason="tool_calls",
        calls=(("a", "f", {"x": [1, None]}),),
    ),
    "arguments that are no JSON": Recording(
        sse(fragments({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{oops"}}), STOP),
        reason="tool_calls",
        calls=(("a", "f", "{oops"),),
    ),
    "arguments cut by the length limit": Recording(
        sse(
            fragments({"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x": 1'}}),
            chunk(finish="length"),
        ),
        reason="length",
    ),
    "the call whole once more at the end": Recording(
        sse(
            fragments({"index": 0, "id": "a", "function": {"name": "weather"}}),
            fragments({"index": 0, "function": {"arguments": WEATHER["arguments"]}}),
            fragments({"index": 0, "id": "a", "function": WEATHER}),
            STOP,
        ),
        reason="tool_calls",
        calls=(("a", "weather", {"city": "Bern"}),),
    ),
    "function_call of old": Recording(
        sse(
            chunk(delta={"function_call": {"name": "weather", "arguments": '{"city"'}}),
            chunk(delta={"function_call": {"arguments": ':"Bern"}'}}),
            chunk(finish="function_call"),
        ),
        reason="tool_calls",
        calls=(("call_", "weather", {"city": "Bern"}),),
    ),
    "a call in the new way and in that of old (llama-cpp-python)": Recording(
        sse(
            chunk(delta={"content": None, "function_call": None, "tool_calls": None}),
            *(
                chunk(
                    delta={
                        "function_call": {"name": "weather", "arguments": piece},
                        "tool_calls": [
                            {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": piece}}
                        ],
                    }
                )
                for piece in ('{"city"', ':"Bern"}')
            ),
            chunk(finish="tool_calls"),
            DONE,
        ),
        reason="tool_calls",
        calls=(("c1", "weather", {"city": "Bern"}),),
    ),
    "a JSON body with a call in both ways": Recording(
        json.dumps(
            {
                "choices": [
                    {
                        "message": {
                            "function_call": WEATHER,
                            "tool_calls": [{"id": "c1", "type": "function", "function": WEATHER}],
                        },
                        "finish_reason": "tool_calls",
                    }
                ]
            }
        ).encode(),
        reason="tool_calls",
        calls=(("c1", "weather", {"city": "Bern"}),),
    ),
    # whole bodies
    "a JSON body": Recording(
        b'\n{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello","reasoning_content":"hm",'
        b'"tool_calls":[{"id":"a","type":"function","function":{"name":"weather","arguments":"{\\"city\\":\\"Bern\\"}"}}]},'
        b'"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n',
        "Hello",
        "hm",
        "tool_calls",
        (("a", "weather", {"city": "Bern"}),),
        5,
    ),
    "a JSON body with an error": Recording(
        b'{"error":{"message":"slow down","type":"rate_limit_error"}}', reason=None, error=RateLimitError
    ),
    "a list with an error": Recording(
        b'[{"error":{"message":"no","code":503}}]', reason=None, error=ServerError
    ),
    "a web page": Recording(
        b"<!DOCTYPE html>\n<html>gateway</html>", reason=None, error=MalformedStreamError
    ),
    # failures
    "ends early": Recording(sse(*HELLO), "Hello", reason=None, error=StreamInterruptedError),
    "ends inside an event": Recording(
        sse(*HELLO) + b'data: {"choi', "Hello", reason=None, error=StreamInterruptedError
    ),
    "nothing at all": Recording(b"", reason=None, error=StreamInterruptedError),
    "comments only": Recording(b": hold on\n\n", reason=None, error=StreamInterruptedError),
    "[DONE] only": Recording(sse(DONE), reason=None, error=MalformedStreamError),
    "not JSON": Recording(sse(*HELLO, b"{oops"), "Hello", reason=None, error=MalformedStreamError),
    "a list as an event": _unreadable(b"[1,2]"),
    "a number as an event": _unreadable(b"5"),
    "a number as content": _unreadable(chunk(delta={"content": 5})),
    "an object as content": _unreadable(chunk(delta={"content": {"text": "lo"}})),
    "a text as choices": _unreadable(b'{"choices":"lo"}'),
    "a JSON body with a number as content": Recording(
        b'{"choices":[{"message":{"content":5},"finish_reason":"stop"}]}',
        reason=None,
        error=MalformedStreamError,
    ),
    "an error object": Recording(
        sse(*HELLO, b'{"error":{"message":"fell over","code":502}}', DONE),
        "Hello",
        reason=None,
        error=ServerError,
    ),
    "an error of Groq": Recording(
        sse(
            *HELLO,
            json.dumps({"choices": [], "x_groq": {"id": "r", "error": "over capacity"}}).encode(),
            DONE,
        ),
        "Hello",
        reason=None,
        error=ServerError,
    ),
    "an error of Groq beside a choice": Recording(
        sse(*HELLO, chunk("!", x_groq={"error": "over capacity"}), STOP, DONE),
        "Hello",
        reason=None,
        error=ServerError,
    ),
    "an error text": Recording(
        sse(*HELLO, b'{"error":"fell over"}'), "Hello", reason=None, error=ServerError
    ),
    "an error event": Recording(
        sse(*HELLO) + b'event: error\ndata: {"message":"fell over"}\n\n',
        "Hello",
        reason=None,
        error=ServerError,
    ),
    "an error field (llama.cpp)": Recording(
        sse(*HELLO) + b'error: {"code":500,"message":"fell over"}\n\n',
        "Hello",
        reason=None,
        error=ServerError,
    ),
    "an error on a bare line": Recording(
        sse(*HELLO) + b'{"error":{"message":"fell over"}}\n\n', "Hello", reason=None, error=ServerError
    ),
    "an error beside a choice": Recording(
        sse(*HELLO, chunk("", "error", error={"message": "fell over", "code": 502})),
        "Hello",
        reason=None,
        error=ServerError,
    ),
    "finish reason error": Recording(
        sse(*HELLO, chunk(finish="error")), "Hello", reason=None, error=ServerError
    ),
    "a call beyond the bound, in small events": Recording(
        sse(*HELLO, *[fragments({"index": 0, "function": {"name": "f", "arguments": "x" * 20}})] * 30, STOP),
        "Hello",
        reason=None,
        error=MalformedStreamError,
        options=(("max_event_bytes", 500),),
    ),
    "calls without end": Recording(
        sse(*HELLO, *(fragments({"index": n, "function": {"name": "f"}}) for n in range(30)), STOP),
        "Hello",
        reason=None,
        error=MalformedStreamError,
        options=(("max_event_bytes", 500),),
    ),
    "an event beyond the bound": Recording(
        sse(*HELLO, chunk("x" * 500), STOP, DONE),
        "Hello",
        reason=None,
        error=MalformedStreamError,
        options=(("max_event_bytes", 300),),
    ),
    "half characters in a call and in the model's name": Recording(
        sse(
            b'{"model":"m\\ud83d","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c\\ud83d",'
            b'"function":{"name":"f\\ud83d","arguments":"{\\ud83d"}}]}}]}',
            STOP,
            DONE,
        ),
        reason="tool_calls",
        calls=(("c\ufffd", "f\ufffd", "{\ufffd"),),
    ),
    "nested too deeply": Recording(
        sse(*HELLO, b'{"a":' * 20_000 + b"1" + b"}" * 50_000),
        "Hello",
        reason=None,
        error=MalformedStreamError,
    ),
}
