"""Agents that the tests of agents name in PALAVER_AGENTS."""

import asyncio
import threading
import time
from typing import Any

from pydantic import BaseModel

from palaver.workers.agents import (
    Agent,
    ResponseStream,
    ask_model,
    ask_model_blocking,
    display_widget,
    get_file_text,
    get_history,
    path,
    send_content,
    with_context,
)

PASSWORD = "hunter2"
made: list[str] = []
contexts: list[str] = []
holding = threading.Event()  # an agent waits, or blocks
release = threading.Event()
refused: list[BaseException] = []


class Support(Agent):
    class Context(BaseModel):
        user_id: int = 0
        stage: str = "greeting"

    def __init__(self) -> None:
        made.append("support")

    def create_context(self) -> Any:
        contexts.append(str(self.user))
        return self.Context(user_id=self.user.id if self.user else 0)

    @with_context()
    def whose(self, prefix: str, user_id: int, stage: str, mark: str = "!") -> str:
        return f"{prefix} {user_id} {stage}{mark}"

    @with_context()
    async def awhose(self, user_id: int, price: float) -> str:
        return f"{user_id}"

    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        if message == "whose":
            return self.whose("user")
        if message == "given":
            return self.whose("user", stage="paid", mark="?")
        if message == "price":
            return await self.awhose()
        return f"Hello, {message}!"


class Streaming:
    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> Any:
        with ResponseStream() as stream:
            stream.start({"mood": "good"})
            for word in message.split():
                stream.write(word + " ")
                await asyncio.sleep(0)
            stream.write("")
        match kwargs.get("returns"):
            case "content":
                return stream.content
            case "other":
                return "Something else."
            case "number":
                return 7
        return None


class Plain:
    """Runs in a thread."""

    def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        loop = threading.current_thread().name
        with ResponseStream() as stream:
            stream.write(f"{loop}: ")
            stream.write(message)
        return stream.content


async def telling(message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
    return f"{sorted(session_context.items())} {kwargs}"


async def showing(message: str, session_context: dict[str, Any], **kwargs: Any) -> str | None:
    stream = ResponseStream()
    stream.write("before ")
    display_widget("form", {"slots": ["10:00"]})
    send_content("image", {"url": "https://example.com/i.png"})
    if message == "set":
        display_widget("form", {1, 2})
    stream.write("after")
    stream.end()
    return "Anew." if message == "anew" else None


async def breaking(message: str, session_context: dict[str, Any]) -> str:
    ResponseStream().write("Well. ")
    if message == "exit":
        raise SystemExit(PASSWORD)
    if message == "cancelled":
        raise asyncio.CancelledError(PASSWORD)
    raise RuntimeError(f"{PASSWORD} {message}")


def breaking_thread(message: str, session_context: dict[str, Any]) -> str:
    ResponseStream().write("Well. ")
    raise StopIteration(PASSWORD)


async def scenes(message: str, session_context: dict[str, Any]) -> str | None:
    display_widget("form", {})
    for number in (1, 2):
        with ResponseStream() as stream:
            stream.start({"scene": number} if number == 2 or message != "late" else None)
            stream.write(f"{number}.")
    return "Anew." if message == "anew" else None


async def streams(message: str, session_context: dict[str, Any]) -> None:
    """One for each part of the message."""
    for number, text in enumerate(message.split(",")):
        with ResponseStream() as stream:
            stream.start({"part": number})
            stream.write(text)


class Fixed:
    """Its messages can have no attributes of their own."""

    __slots__ = ()

    async def get_response(self, message: str, session_context: dict[str, Any]) -> str:
        return message


class OwnFiles(Agent):
    @property
    def files(self) -> list[str]:
        return []

    async def get_response(self, message: str, session_context: dict[str, Any]) -> str:
        return message


class Model(BaseModel):
    user: Any = None
    files: Any = None

    async def get_response(self, message: str, session_context: dict[str, Any]) -> str:
        return message


class Unkept(Agent):
    def create_context(self) -> Any:
        return {"lock": threading.Lock()}

    async def get_response(self, message: str, session_context: dict[str, Any]) -> str:
        return message


def decorated(function: Any) -> Any:
    """As decorators do that know nothing of coroutines."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@decorated
async def wrapped(message: str, session_context: dict[str, Any]) -> str:
    ResponseStream().write("I am ")
    await asyncio.sleep(0)
    return f"I am {threading.current_thread().name}"


def waiting_thread(message: str, session_context: dict[str, Any]) -> str:
    stream = ResponseStream()
    stream.write("one ")
    holding.set()
    release.wait(30)
    try:
        stream.write("two ")
    except Exception as error:
        refused.append(error)
        raise
    return "three"


async def waiting(message: str, session_context: dict[str, Any]) -> str:
    ResponseStream().write("one ")
    holding.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError as error:
        refused.append(error)
        raise
    return ""


async def blocking(message: str, session_context: dict[str, Any]) -> str:
    """What no coroutine should do."""
    holding.set()
    while not release.is_set():
        time.sleep(0.01)  # noqa: ASYNC251
    return "done"


async def asking(message: str, session_context: dict[str, Any], **kwargs: Any) -> str | None:
    ResponseStream().write("Let me ask. ")
    if message == "again":
        return f"{len(get_history())}"
    answer = await ask_model(message, system="Be brief.", params={"temperature": 0.5})
    assert answer.usage is not None
    return None


async def twice(message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
    answers = [await ask_model(message, stream=False) for _ in range(2)]
    return "".join(answer.content for answer in answers)


async def at_once(message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
    first = asyncio.ensure_future(ask_model(message, stream=False))
    await asyncio.sleep(0.1)
    second = await ask_model(message, model="spare/m", stream=False)
    return (await first).content + second.content


async def loud(message: str, session_context: dict[str, Any]) -> str:
    return (await ask_model(message)).content.upper()


def asking_blocking(message: str, session_context: dict[str, Any]) -> str:
    return f"<{ask_model_blocking(message, stream=False).content}>"


class Reader(Agent):
    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        texts = [f"From {file.filename}: {get_file_text(file.id)}" for file in self.files]
        return "\n".join([*texts, f"[{get_file_text('unknown')}]"])


class Careless(Agent):
    class Context(BaseModel):
        tier: str
        seats: int = 1

    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        return f"{self.context.tier} {self.context.seats}"


class Learning(Careless):
    """Makes a context that does not fit, and then one that does."""

    def create_context(self) -> Any:
        contexts.append("made")
        return {"tier": "gold" if len(contexts) > 1 else 5}


class Meeting(Agent):
    """Answers when two are there."""

    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        first = self.note = self.user.id
        made.append(first)
        while len(made) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return f"{first} {self.user.id} {self.note}"


async def flooding(message: str, session_context: dict[str, Any]) -> None:
    stream = ResponseStream()
    while True:
        stream.write("x" * 1000)


async def returning(message: str, session_context: dict[str, Any]) -> str:
    return "x" * int(message)


async def ended(message: str, session_context: dict[str, Any]) -> None:
    with ResponseStream() as stream:
        stream.write("whole")
    stream.write("more")


class Failing(Agent):
    def __init__(self) -> None:
        made.append("failing")
        if made.count("failing") < 2:
            raise OSError("no data")

    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        return "made"


chat_urlpatterns = [
    path("support/", Support.as_view()),
    path("support/", telling),
    path("streaming/<returns>/", Streaming),
    path("plain", Plain),
    path("docs/<int:number>/<path:rest>/", telling),
    path("showing/", showing),
    path("breaking/", breaking),
    path("breaking/thread/", breaking_thread),
    path("scenes/", scenes),
    path("streams/", streams),
    path("fixed/slots/", Fixed),
    path("fixed/property/", OwnFiles),
    path("fixed/model/", Model),
    path("unkept/", Unkept),
    path("wrapped/", wrapped),
    path("waiting/", waiting),
    path("waiting/thread/", waiting_thread),
    path("blocking/", blocking),
    path("asking/", asking),
    path("twice/", twice),
    path("at_once/", at_once),
    path("loud/", loud),
    path("asking/blocking/", asking_blocking),
    path("reader/", Reader),
    path("careless/", Careless),
    path("learning/", Learning),
    path("meeting/", Meeting),
    path("returning/", returning),
    path("ended/", ended),
    path("flooding/", flooding),
    path("failing/", Failing),
]
