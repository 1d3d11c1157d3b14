"""Canaries: words that stand for keys and for what is said, a provider and a receiver that see them, and how
they are looked for elsewhere.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import redis
from standardwebhooks import Webhook

KEYS = {
    "PALAVER_SECRET": "canary-of-the-secret-that-seals-profiles",
    "PALAVER_WEBHOOK_SECRET": "whsec_Y2FuYXJ5IG9mIHRoZSB3ZWJob29rcyBzZWNyZXQ=",
    "CANARY_API_KEY": "sk-canary-of-the-profile",
}
"""By the variables in which processes are told them."""
FILE_KEY = "sk-canary-of-a-key-in-a-file"
SEALED_KEY = "sk-canary-of-a-program"
REDIS_PASSWORD = "canary-of-redis"

SYSTEM, PROMPT, THOUGHT, ANSWER = "canarysystem", "canaryprompt", "canarythought", "canaryanswer"
ARGUMENT, RESULT, TOOL_ERROR = "canaryargument", "canaryresult", "canarybroken"
AGENT, AGENT_ERROR, CONTEXT, WIDGET = "canaryagent", "canaryfailing", "canarycontext", "canarywidget"
FILE, LINE, METADATA, OUTSIDE = "canaryfile", "canaryline", "canarymetadata", "canaryoutside"
HOSTILE = "canaryhostile"
HOOK = "canaryhook"

SAID = (
    *(SYSTEM, PROMPT, THOUGHT, ANSWER, ARGUMENT, RESULT, AGENT, CONTEXT, WIDGET),
    *(FILE, LINE, METADATA, OUTSIDE, HOOK),
)
"""What people, models, tools and agents say, files hold and addresses end with: in the ledger and in the
store of files alone.
"""
UNSAID = (TOOL_ERROR, AGENT_ERROR, HOSTILE)
"""What exceptions and refused documents hold: nowhere at all."""

USER_CODE = f'''
"""What the workers of this test are given: tools and agents that say canaries, and fail with one."""

from typing import Any

from palaver.workers.agents import Agent, ResponseStream, display_widget, path
from palaver.workers.generation import tool

# A log may show lines of code, and so none may have these words in it that is passed by an exception.
RESULT, TOOL_ERROR, CONTEXT = "{RESULT}", "{TOOL_ERROR}", "{CONTEXT}"
AGENT, WIDGET, AGENT_ERROR = "{AGENT}", "{WIDGET}", "{AGENT_ERROR}"


@tool
def lookup(what: str) -> str:
    """Look something up."""
    return RESULT + " " + what


@tool
def broken(what: str) -> str:
    """Fails with all that it knows."""
    raise RuntimeError(TOOL_ERROR + " " + what)


class Helper(Agent):
    def create_context(self) -> dict[str, Any]:
        return {{"mood": CONTEXT}}

    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> None:
        with ResponseStream() as stream:
            stream.write(AGENT + " " + message)
            display_widget("form", {{"word": WIDGET}})


class Broken(Agent):
    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        raise RuntimeError(AGENT_ERROR + " " + message)


chat_urlpatterns = [path("helper/", Helper.as_view()), path("broken/", Broken.as_view())]
'''


class Provider(BaseHTTPRequestHandler):
    """Answers by the name of the model; three fail as real ones do, and tell all that they were asked with.

    `caller` calls both tools; `slow` says a word, and the rest when it is asked again.
    """

    asked: ClassVar[list[str]]  # bodies, with the header of the key
    again: ClassVar[threading.Event]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        quoted = f"{self.headers.get('authorization')} {body}"
        self.asked.append(quoted)
        document = json.loads(body)
        answer = {"refused": self._refuse, "hostile": self._break, "garbage": self._babble}
        if document["model"] in answer:
            answer[document["model"]](quoted)
        else:
            self._stream(self._deltas(document))

    def _deltas(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        called = any(message["role"] == "tool" for message in asked["messages"])
        if asked["model"] == "caller" and not called:
            yield {"tool_calls": [_call(0, "lookup"), _call(1, "broken")]}
            return
        yield {"reasoning_content": THOUGHT}
        yield {"content": ANSWER}
        if asked["model"] == "slow" and not self.again.is_set():
            self.again.wait(60)

    def _stream(self, deltas: Iterator[dict[str, Any]]) -> None:
        self._begin(200, "text/event-stream")
        reason = "stop"
        for delta in deltas:
            reason = "tool_calls" if "tool_calls" in delta else reason
            self._say({"choices": [{"index": 0, "delta": delta}]})
        self._say({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})

    def _refuse(self, quoted: str) -> None:
        self._begin(401, "application/json")
        self.wfile.write(json.dumps({"error": {"message": f"Incorrect API key: {quoted}"}}).encode())

    def _break(self, quoted: str) -> None:
        self._begin(200, "text/event-stream")
        self._say({"choices": [{"index": 0, "delta": {"content": ANSWER}}]})
        self._say({"error": {"message": quoted, "code": 400, "type": quoted, "param": quoted}})

    def _babble(self, quoted: str) -> None:
        self._begin(200, "text/event-stream")
        self.wfile.write(f"data: {{{quoted}\n\n".encode())

    def _begin(self, status: int, content_type: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("connection", "close")
        self.end_headers()

    def _say(self, document: dict[str, Any]) -> None:
        with suppress(ConnectionError):  # whoever asked was killed
            self.wfile.write(f"data: {json.dumps(document)}\n\n".encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _call(index: int, name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps({"what": ARGUMENT})}
    return {"index": index, "id": f"c{index}", "type": "function", "function": function}


@dataclass
class Receiver:
    """Of a tenant's webhooks; it takes what is signed with `key`."""

    url: str
    key: str = ""
    told: list[str] = field(default_factory=list)
    news: threading.Event = field(default_factory=threading.Event)

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        Webhook(self.key).verify(body, headers)
        self.told.append(body.decode())
        self.news.set()


@contextmanager
def provider() -> Iterator[tuple[str, type[Provider]]]:
    """Its address, and what it has seen."""

    class Seeing(Provider):
        asked: ClassVar[list[str]] = []
        again = threading.Event()

    with _serving(Seeing) as origin:
        yield f"{origin}/v1", Seeing
        Seeing.again.set()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """One whose address has a word that is nobody else's business."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taking.take(self.rfile.read(int(self.headers["content-length"])), dict(self.headers))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with _serving(Handler) as origin:
        taking = Receiver(f"{origin}/hook?token={HOOK}")
        yield taking


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def content_of(connection: redis.Redis) -> dict[str, str]:
    """Every key with all that is in it, its name too."""
    readers: dict[bytes, Callable[[Any], Any]] = {
        b"string": connection.get,
        b"hash": connection.hgetall,
        b"list": lambda key: connection.lrange(key, 0, -1),
        b"set": connection.smembers,
        b"zset": lambda key: connection.zrange(key, 0, -1),
        b"stream": connection.xrange,
    }
    keys: Any = connection.scan_iter()
    kinds: Any = {key: connection.type(key) for key in keys}
    return {key.decode(): f"{key!r} {readers[kind](key)!r}" for key, kind in kinds.items() if kind in readers}


_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")


def unwrapped(text: str) -> str:
    """The text, and what its words in base64 say, as bodies of Celery's messages are."""
    found = [text]
    for word in _BASE64.findall(text):
        whole = word[: len(word.rstrip("=")) // 4 * 4].translate(str.maketrans("-_", "+/"))
        found.append(base64.b64decode(whole).decode("latin-1"))
    return "\n".join(found)


def words_in(text: str, words: tuple[str, ...]) -> list[str]:
    """Those of the words that the text has, in whatever letters."""
    whole = unwrapped(text).lower()
    return [word for word in words if word.lower() in whole]
