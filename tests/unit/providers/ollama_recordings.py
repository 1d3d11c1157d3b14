"""What Ollama sends, as bytes, and what it means. Hand-made after real servers."""

import json
from typing import Any

from palaver.shared.errors import MalformedStreamError, ServerError, StreamInterruptedError
from tests.unit.providers.recordings import EMOJI, Recording

KIND = "ollama"


def line(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "done": False, **fields}, ensure_ascii=False).encode() + b"\n"


def said(text: str, **more: Any) -> bytes:
    return line(message={"role": "assistant", "content": text, **more})


LAST = line(done=True, done_reason="stop", prompt_eval_count=3, eval_count=2, total_duration=9)


OLLAMA: dict[str, Recording] = {
    "plain": Recording(said("Hel") + said("lo") + LAST, "Hello", tokens=5, kind=KIND),
    "CRLF and blank lines": Recording(
        (said("Hel") + b"\n" + said("lo") + LAST).replace(b"\n", b"\r\n"), "Hello", tokens=5, kind=KIND
    ),
    "no last newline": Recording((said("Hello") + LAST).rstrip(), "Hello", tokens=5, kind=KIND),
    "thinking": Recording(said("", thinking="hm") + said("Hello") + LAST, "Hello", "hm", tokens=5, kind=KIND),
    "byte order mark": Recording(b"\xef\xbb\xbf" + said("Hello") + LAST, "Hello", tokens=5, kind=KIND),
    "bad UTF-8": Recording(
        b'{"message":{"content":"x\xff"},"done":false}\n' + LAST, "x\ufffd", tokens=5, kind=KIND
    ),
    "1 MB in one line": Recording(
        said("é" * 100) + said("x" * 2**20) + LAST, "é" * 100 + "x" * 2**20, tokens=5, kind=KIND
    ),
    "the last text with the counts": Recording(
        said("Hel") + line(message={"content": "lo"}, done=True, done_reason="stop", eval_count=2),
        "Hello",
        kind=KIND,
    ),
    "done_reason empty": Recording(said("Hello") + line(done=True, done_reason=""), "Hello", kind=KIND),
    "done_reason unknown": Recording(
        said("Hello") + line(done=True, done_reason="bored"), "Hello", kind=KIND
    ),
    "think tags": Recording(
        said("<thi") + said("nk>hm</think>Hel") + said("lo") + LAST,
        "Hello",
        "hm",
        tokens=5,
        options=(("think_tags", True),),
        kind=KIND,
    ),
    "thinking, then a call with an id": Recording(
        said("", thinking="hm")
        + said("", tool_calls=[{"id": "c1", "function": {"index": 0, "name": "f", "arguments": '{"x":1}'}}])
        + LAST,
        reasoning="hm",
        reason="tool_calls",
        calls=(("c1", "f", {"x": 1}),),
        tokens=5,
        kind=KIND,
    ),
    "counts that make no sense": Recording(
        said("Hello") + line(done=True, done_reason="stop", prompt_eval_count="many"), "Hello", kind=KIND
    ),
    "raw UTF-8": Recording(said(EMOJI) + LAST, EMOJI, tokens=5, kind=KIND),
    "half characters": Recording(
        b'{"message":{"content":"x\\ud83d"},"done":false}\n{"message":{"content":"\\ude00"},"done":false}\n'
        + LAST,
        "x😀",
        tokens=5,
        kind=KIND,
    ),
    "length": Recording(
        said("Hello") + line(done=True, done_reason="length"), "Hello", reason="length", kind=KIND
    ),
    "no done_reason": Recording(said("Hello") + line(done=True), "Hello", kind=KIND),
    "tool calls": Recording(
        said(
            "",
            tool_calls=[
                {"function": {"name": "f", "arguments": {"x": 1}}},
                {"function": {"name": "f", "arguments": {}}},
            ],
        )
        + LAST,
        reason="tool_calls",
        calls=(("call_", "f", {"x": 1}), ("call_", "f", {})),
        tokens=5,
        kind=KIND,
    ),
    "one body": Recording(
        line(message={"content": "Hello"}, done=True, done_reason="stop", eval_count=2),
        "Hello",
        kind=KIND,
    ),
    "error inside": Recording(
        said("Hel") + b'{"error":"model runner stopped"}\n',
        "Hel",
        reason=None,
        error=ServerError,
        kind=KIND,
    ),
    "ends early": Recording(said("Hel"), "Hel", reason=None, error=StreamInterruptedError, kind=KIND),
    "ends inside a line": Recording(
        said("Hel") + said("lo")[:20], "Hel", reason=None, error=StreamInterruptedError, kind=KIND
    ),
    "not JSON": Recording(said("Hel") + b"oops\n", "Hel", reason=None, error=MalformedStreamError, kind=KIND),
    "a number without end behind the last word": Recording(
        said("Hel") + b'{"done":true,"n":' + b"1" * 5000 + b"}\n",
        "Hel",
        reason=None,
        error=MalformedStreamError,
        kind=KIND,
    ),
    "a number as content": Recording(
        said("Hel") + line(message={"content": 5}) + LAST,
        "Hel",
        reason=None,
        error=MalformedStreamError,
        kind=KIND,
    ),
    "nothing": Recording(b"", reason=None, error=StreamInterruptedError, kind=KIND),
    "calls without end": Recording(
        said("Hel") + said("", tool_calls=[{"function": {"name": "f", "arguments": {}}}]) * 30 + LAST,
        "Hel",
        reason=None,
        error=MalformedStreamError,
        options=(("max_event_bytes", 500),),
        kind=KIND,
    ),
    "a line beyond the bound": Recording(
        said("Hel") + said("x" * 500) + LAST,
        "Hel",
        reason=None,
        error=MalformedStreamError,
        options=(("max_event_bytes", 300),),
        kind=KIND,
    ),
}

OLLAMA = {f"ollama: {name}": recording for name, recording in OLLAMA.items()}
