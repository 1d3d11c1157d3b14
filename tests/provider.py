"""A model server for tests, in a process of its own, on 127.0.0.1; it speaks OpenAI's dialect, Ollama's and
Anthropic's.

    python tests/provider.py [PORT]        prints its port, serves until it is killed

What it answers is a JSON object in the last user message that is one (any other text: 20 words, unpaced):

    n         numbered words " w0 w1 …" (20); an assistant message that ends in one is gone on after
    deltas    a list of texts instead of the words
    rate      deltas a second (0: without a pause); start: seconds before the response's headers
    reasoning, tool_calls [{"id", "name", "arguments"}], usage (true), finish ("stop"; null: none), done
    (true) body      true: one JSON body although a stream was asked; gzip: true; newline: "\\r\\n" or "\\r"
    pad       bytes of white noise in each event; linger: seconds to keep the response open after its end
    key       keeps the time.time() of every write, for GET /_writes/KEY
    limit     deltas of one answer; a longer one ends there, for the reason "length"
    rounds    a list of such objects, over the others: the first until a tool was called, then the next
    fail      {"kind", "after": deltas, "status", "retry_after", "retry_date": the same as a date,
    "location", "times": only so many requests}, kind one of status (default) · cut (inside an HTTP
    chunk) · eof (a clean end too early) · reset · idle · garbage · error (an error object inside the 200)

GET /_stats: requests, open, max_open, connections, closed_by_client. GET /_last: path, headers, body of
the last request. GET /v1/models, /v1/models/NAME, /api/tags; POST /api/show. Requests in absolute form
(from a client that takes this for its proxy) work too.
"""

import asyncio
import contextlib
import gzip
import json
import re
import sys
import time
from collections import Counter
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

Document = dict[str, Any]


class State:
    """What the server has seen."""

    def __init__(self) -> None:
        self.requests = self.open = self.max_open = self.connections = 0
        self.closed_by_client: list[float] = []
        self.last: Document = {}
        self.writes: dict[str, list[float]] = {}
        self.fails: Counter[str] = Counter()

    def stats(self) -> Document:
        names = ("requests", "open", "max_open", "connections", "closed_by_client")
        return {name: getattr(self, name) for name in names}


class Stopped(Exception):
    """The response ended without its HTTP end: close the connection."""


class OpenAI:
    """chat/completions."""

    content_type = "text/event-stream"
    streams_unasked = False

    def __init__(self, model: str, newline: str) -> None:
        self.model = model
        self.end = newline.encode()

    def event(self, document: Document) -> bytes:
        return b"data: " + json.dumps(document).encode() + self.end * 2

    def start(self, usage: Document | None) -> bytes:
        return b""

    def chunk(self, delta: Document, finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return self.event(
            {"id": "c", "object": "chat.completion.chunk", "model": self.model, "choices": [choice], **more}
        )

    def text(self, delta: str, **more: Any) -> bytes:
        return self.chunk({"content": delta}, **more)

    def reasoning(self, delta: str) -> bytes:
        return self.chunk({"reasoning_content": delta})

    def tool_call(self, index: int, call: Document) -> list[bytes]:
        arguments = json.dumps(call.get("arguments", {}))
        head = {"index": index, "id": call.get("id", f"c{index}"), "type": "function"}
        first = self.chunk({"tool_calls": [{**head, "function": {"name": call["name"], "arguments": ""}}]})
        pieces = [arguments[:3], arguments[3:]]
        return [first] + [
            self.chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            for piece in pieces
        ]

    def ending(self, finish: str | None, usage: Document | None, done: bool) -> list[bytes]:
        out = [self.chunk({}, finish)] if finish is not None else []
        if usage:
            out.append(self.event({"model": self.model, "choices": [], "usage": usage}))
        return out + ([b"data: [DONE]" + self.end * 2] if done else [])

    def error(self, message: str, status: int) -> bytes:
        return self.event({"error": {"message": message, "code": status}})

    def body(self, text: str, spec: Document, usage: Document | None) -> Document:
        message: Document = {"role": "assistant", "content": text}
        if spec.get("reasoning"):
            message["reasoning_content"] = spec["reasoning"]
        choices = [
            {"index": i, "message": message, "finish_reason": "stop"} for i in range(spec.get("choices", 1))
        ]
        return {"model": self.model, "choices": choices, "usage": usage}


class Ollama:
    """/api/chat."""

    content_type = "application/x-ndjson"
    streams_unasked = True

    def __init__(self, model: str, newline: str) -> None:
        self.model = model

    def start(self, usage: Document | None) -> bytes:
        return b""

    def line(self, message: Document, **more: Any) -> bytes:
        return (
            json.dumps(
                {"model": self.model, "message": {"role": "assistant", **message}, "done": False, **more}
            ).encode()
            + b"\n"
        )

    def text(self, delta: str, **more: Any) -> bytes:
        return self.line({"content": delta}, **more)

    def reasoning(self, delta: str) -> bytes:
        return self.line({"content": "", "thinking": delta})

    def tool_call(self, index: int, call: Document) -> list[bytes]:
        function = {"name": call["name"], "arguments": call.get("arguments", {})}
        return [self.line({"content": "", "tool_calls": [{"function": function}]})]

    def ending(self, finish: str | None, usage: Document | None, done: bool) -> list[bytes]:
        if finish is None:
            return []
        return [self.line({"content": ""}, done=True, done_reason=finish, **self.counts(usage))]

    def error(self, message: str, status: int) -> bytes:
        return json.dumps({"error": message}).encode() + b"\n"

    def body(self, text: str, spec: Document, usage: Document | None) -> Document:
        message = {"role": "assistant", "content": text}
        return {
            "model": self.model,
            "message": message,
            "done": True,
            "done_reason": "stop",
            **self.counts(usage),
        }

    @staticmethod
    def counts(usage: Document | None) -> Document:
        if not usage:
            return {}
        return {"prompt_eval_count": usage["prompt_tokens"], "eval_count": usage["completion_tokens"]}


class Anthropic:
    """/v1/messages."""

    content_type = "text/event-stream"
    streams_unasked = False

    def __init__(self, model: str, newline: str) -> None:
        self.model = model
        self.end = newline.encode()
        self.block = ""  # the kind of the block that is open
        self.index = -1

    def event(self, kind: str, **fields: Any) -> bytes:
        data = json.dumps({"type": kind, **fields}).encode()
        return b"event: " + kind.encode() + self.end + b"data: " + data + self.end * 2

    def start(self, usage: Document | None) -> bytes:
        counts = {"input_tokens": usage["prompt_tokens"], "output_tokens": 1} if usage else None
        message: Document = {"id": "msg", "model": self.model, "content": [], "usage": counts}
        return self.event("message_start", message=message) + self.event("ping")

    def close(self) -> bytes:
        signed = self.delta("signature_delta", signature="c2ln") if self.block == "thinking" else b""
        return signed + (self.event("content_block_stop", index=self.index) if self.block else b"")

    def begin(self, kind: str, **fields: Any) -> bytes:
        """A block of this kind, unless it is open."""
        if kind == self.block and kind != "tool_use":
            return b""
        closed = self.close()
        self.block, self.index = kind, self.index + 1
        return closed + self.event(
            "content_block_start", index=self.index, content_block={"type": kind, **fields}
        )

    def delta(self, kind: str, **more: Any) -> bytes:
        delta = {"type": kind, **more}
        return self.event("content_block_delta", index=self.index, delta=delta)

    def text(self, delta: str, **more: Any) -> bytes:
        return self.begin("text", text="") + self.delta("text_delta", text=delta, **more)

    def reasoning(self, delta: str) -> bytes:
        begun = self.begin("thinking", thinking="", signature="")
        return begun + self.delta("thinking_delta", thinking=delta)

    def tool_call(self, index: int, call: Document) -> list[bytes]:
        begun = self.begin("tool_use", id=call.get("id", f"c{index}"), name=call["name"], input={})
        arguments = json.dumps(call.get("arguments", {}))
        pieces = ["", arguments[:3], arguments[3:]]
        return [begun] + [self.delta("input_json_delta", partial_json=piece) for piece in pieces]

    def ending(self, finish: str | None, usage: Document | None, done: bool) -> list[bytes]:
        if finish is None:
            return [self.close()]
        counts = {"output_tokens": usage["completion_tokens"]} if usage else {}
        last = self.event("message_delta", delta={"stop_reason": self.reason(finish)}, usage=counts)
        return [self.close(), last] + ([self.event("message_stop")] if done else [])

    def reason(self, finish: str) -> str:
        return {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}.get(finish, finish)

    def error(self, message: str, status: int) -> bytes:
        return self.event("error", error={"type": "overloaded_error", "message": message})

    def body(self, text: str, spec: Document, usage: Document | None) -> Document:
        names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
        counts = {name: usage[key] for key, name in names.items()} if usage else None
        content = [{"type": "text", "text": text}]
        message = {"type": "message", "model": self.model, "content": content, "stop_reason": "end_turn"}
        return {**message, "usage": counts}


SHOWN = ("m", "n", "llama2", "codellama")
"""The models of which there is more to be told than that they are listed."""

DIALECTS = {"/api/chat": Ollama, "/v1/messages": Anthropic}
"""By the end of the path; any other is OpenAI's."""


class Response:
    """A chunked response; with gzip, compressed as one stream would be: whole, at its end."""

    def __init__(
        self, writer: asyncio.StreamWriter, content_type: str, *, gzipped: bool, stamps: list[float] | None
    ) -> None:
        self.writer, self.gzipped, self.stamps = writer, gzipped, stamps
        self.held: list[bytes] = []
        encoding = "content-encoding: gzip\r\n" if gzipped else ""
        writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nset-cookie: seen=1\r\n{encoding}"
            "transfer-encoding: chunked\r\n\r\n".encode()
        )

    def write(self, data: bytes) -> None:
        if self.gzipped:
            self.held.append(data)
            return
        if self.stamps is not None:
            self.stamps.append(time.time())
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def cut(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%s" % (len(data), data[: len(data) // 2]))

    def end(self) -> None:
        if self.gzipped:
            self.gzipped = False
            self.write(gzip.compress(b"".join(self.held)))
        self.writer.write(b"0\r\n\r\n")


class Connection:
    """One client connection: request after request."""

    def __init__(self, state: State, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.state, self.reader, self.writer = state, reader, writer

    async def serve(self) -> None:
        self.state.connections += 1
        try:
            while True:
                await self.answer(await self.reader.readuntil(b"\r\n\r\n"))
                await self.writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, Stopped):
            pass
        finally:
            self.writer.close()

    async def answer(self, head: bytes) -> None:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        path = urlsplit(target).path
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        body = await self.reader.readexactly(int(length[1])) if length else b""
        if method == "GET" or path == "/api/show":
            self.look(path, json.loads(body or b"{}").get("model", path.rpartition("/")[2]))
            return
        lines = head.decode("latin-1").split("\r\n")[1:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        question = json.loads(body)
        self.state.last = {"path": target, "headers": headers, "body": question}
        self.state.requests += 1
        await self.watched(path, question)

    def look(self, path: str, model: str) -> None:
        """Answer a question that generates nothing; the models are m and n, and those that are SHOWN."""
        if path == "/_stats":
            self.plain(200, self.state.stats())
        elif path == "/_last":
            self.plain(200, self.state.last)
        elif path.startswith("/_writes/"):
            self.plain(200, {"writes": self.state.writes.get(path.removeprefix("/_writes/"), [])})
        elif path.startswith(("/v1/models/", "/api/show")) and model in SHOWN:
            info = {"general.architecture": "x", "x.context_length": 4096}
            self.plain(200, {"id": model, "max_input_tokens": 4096, "model_info": info})
        elif path.startswith(("/v1/models/", "/api/show")):
            self.plain(404, {"error": {"message": f"model '{model}' not found"}})
        else:
            models = [{"name": "m"}, {"name": "n"}]
            data = [{"id": "m", "context_length": 4096}, {"id": "n"}]
            self.plain(200, {"object": "list", "data": data, "models": models})

    async def watched(self, path: str, question: Document) -> None:
        """Generate, and stop as soon as the client is gone, even in the middle of a pause."""
        task = asyncio.current_task()
        assert task is not None
        gone = asyncio.ensure_future(self.reader.read(1))
        gone.add_done_callback(lambda future: None if future.cancelled() else task.cancel())
        self.state.open += 1
        self.state.max_open = max(self.state.max_open, self.state.open)
        try:
            await self.generate(path, question)
        except (asyncio.CancelledError, ConnectionError):
            self.state.closed_by_client.append(time.time())
            raise Stopped from None
        finally:
            self.state.open -= 1
            gone.cancel()
            await asyncio.wait([gone])

    async def generate(self, path: str, question: Document) -> None:
        spec = spec_of(question)
        kind: Any = next((kind for end, kind in DIALECTS.items() if path.endswith(end)), OpenAI)
        dialect = kind(question.get("model", "m"), spec.get("newline", "\n"))
        fail = self.failure(spec)
        await asyncio.sleep(spec.get("start", 0))
        if fail.get("kind") == "status":
            self.refuse(fail)
            return
        deltas = deltas_of(question, spec)
        if len(deltas) > spec.get("limit", sys.maxsize):
            deltas, spec["finish"] = deltas[: spec["limit"]], "length"
        counts = {"prompt_tokens": 3, "completion_tokens": len(deltas), "total_tokens": 3 + len(deltas)}
        usage = counts if spec.get("usage", True) else None
        if spec.get("body") or not question.get("stream", dialect.streams_unasked):
            spec.setdefault("choices", question.get("n", 1))
            self.plain(200, dialect.body("".join(deltas), spec, usage))
            return
        stamps = self.state.writes.setdefault(spec["key"], []) if "key" in spec else None
        response = Response(self.writer, dialect.content_type, gzipped=bool(spec.get("gzip")), stamps=stamps)
        if begun := dialect.start(usage):
            response.write(begun)
        for word in re.findall(r"\s*\S+", spec.get("reasoning", "")):
            response.write(dialect.reasoning(word))
        await self.stream(response, dialect, deltas, spec, fail)
        calls = [
            piece for i, call in enumerate(spec.get("tool_calls", [])) for piece in dialect.tool_call(i, call)
        ]
        finish = spec.get("finish", "tool_calls" if calls else "stop")
        for piece in calls + dialect.ending(finish, usage, spec.get("done", True)):
            response.write(piece)
        await asyncio.sleep(spec.get("linger", 0))
        response.end()

    async def stream(
        self, response: Response, dialect: Any, deltas: list[str], spec: Document, fail: Document
    ) -> None:
        loop = asyncio.get_running_loop()
        started, rate = loop.time(), spec.get("rate", 0)
        more = {"pad": "~" * spec["pad"]} if "pad" in spec else {}
        for count, delta in enumerate(deltas):
            if fail and count >= fail.get("after", 0):
                break
            if rate:
                await asyncio.sleep(max(0.0, started + (count + 1) / rate - loop.time()))
            elif count % 16 == 15:
                await self.writer.drain()
            response.write(dialect.text(delta, **more))
        if fail:
            await self.fail(response, dialect, fail)

    async def fail(self, response: Response, dialect: Any, fail: Document) -> None:
        kind = fail["kind"]
        if kind == "idle":
            await asyncio.sleep(3600)
        if kind == "garbage":
            response.write(b"data: {this is no JSON\n\n")
        if kind == "error":
            response.write(dialect.error(fail.get("message", "the model fell over"), fail.get("status", 503)))
        if kind == "cut":
            response.cut(dialect.text(" lost"))
        if kind in ("cut", "reset"):
            await self.writer.drain()
            if kind == "reset":
                self.writer.transport.abort()
            raise Stopped
        response.end()
        raise Stopped

    def failure(self, spec: Document) -> Document:
        fail = dict(spec.get("fail", {}))
        if not fail:
            return {}
        fail.setdefault("kind", "status")
        key = json.dumps(spec, sort_keys=True)
        self.state.fails[key] += 1
        return fail if self.state.fails[key] <= fail.get("times", sys.maxsize) else {}

    def refuse(self, fail: Document) -> None:
        headers = ""
        if "retry_after" in fail:
            headers += f"Retry-After: {fail['retry_after']}\r\n"
        if "retry_date" in fail:
            headers += f"Retry-After: {formatdate(time.time() + fail['retry_date'], usegmt=True)}\r\n"
        if "location" in fail:
            headers += f"Location: {fail['location']}\r\n"
        error = {"message": fail.get("message", "as you wished"), "code": fail.get("code")}
        self.plain(fail.get("status", 500), {"error": error}, headers)

    def plain(self, status: int, document: Document, headers: str = "") -> None:
        body = json.dumps(document).encode()
        head = (
            f"HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{headers}\r\n"
        )
        self.writer.write(head.encode() + body)


def text_of(message: Document) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def spec_of(question: Document) -> Document:
    """The last user message that is a JSON object."""
    messages = question.get("messages", [])
    for message in reversed(messages):
        if message.get("role") == "user" and text_of(message).lstrip().startswith("{"):
            with contextlib.suppress(ValueError):
                spec = dict(json.loads(text_of(message)))
                calls = sum("tool_calls" in message or "tool_use" in str(message) for message in messages)
                rounds = spec.get("rounds") or [{}]
                return {**spec, **rounds[min(calls, len(rounds) - 1)]}
    return {}


def deltas_of(question: Document, spec: Document) -> list[str]:
    """What is to be said, after what an assistant message at the end has said already."""
    if "deltas" in spec:
        return list(spec["deltas"])
    said = "".join(
        text_of(message) for message in question.get("messages", []) if message.get("role") == "assistant"
    )
    numbers = re.findall(r"w(\d+)", said)
    return [f" w{number}" for number in range(int(numbers[-1]) + 1 if numbers else 0, spec.get("n", 20))]


async def main() -> None:
    state = State()
    server = await asyncio.start_server(
        lambda reader, writer: Connection(state, reader, writer).serve(),
        "127.0.0.1",
        int(sys.argv[1]) if len(sys.argv) > 1 else 0,
        backlog=4096,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
