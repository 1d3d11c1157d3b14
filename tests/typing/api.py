"""The public API as a type checker sees it; checked by mypy, never run."""

from typing import Any, assert_type

from pydantic import BaseModel

from palaver.producer import (
    AsyncClient,
    AsyncJobHandle,
    AsyncModelHandle,
    BatchHandle,
    Client,
    JobHandle,
    ModelHandle,
)
from palaver.producer.interfaces import (
    AIMLClient,
    Chat,
    ChatManager,
    ChatObject,
    ModelConfig,
    ResponseCache,
    managed_chat_session,
    process_message_batch,
    process_stream,
)
from palaver.shared import ChatHistory, ChatResult, ChatStreamChunk, MemoryModel, Response, UniResponse
from palaver.shared.batches import BatchResult, BatchView
from palaver.shared.events import AnyEvent, ContentData
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import DeadLetter
from palaver.shared.responses import ChatResponse, ModelResponse, StreamChunk
from palaver.shared.spending import DailyUsage
from palaver.shared.stores import FileRef
from palaver.workers.agents import Agent, ResponseStream, ask_model, get_history, path, with_context


class Item(BaseModel):
    """What is wanted."""

    price: float


def blocking(client: Client) -> None:
    """A program without an event loop."""
    handle = client.submit("Hello", model="openai/gpt-4o-mini", session_id="s1")
    assert_type(handle, JobHandle)
    assert_type(handle.job_id, str)
    assert_type(handle.cursor, int)
    for chunk in handle:
        assert_type(chunk, StreamChunk)
        assert_type(chunk.delta, str)
    for event in handle.events(after=0):
        assert_type(event, AnyEvent)
    for event in client.events("s1", after=17):
        assert_type(event.seq, int)
    assert_type(handle.result(timeout=60), ChatResponse)
    assert_type(handle.cancel(), Status)
    assert_type(client.job(handle.job_id).status, Status)
    assert_type(client.retry(handle.job_id), JobHandle)
    file = client.files.upload("menu.pdf", user="ann")
    assert_type(file, FileRef)
    assert_type(client.files.read(file.id, user="ann"), bytes)
    client.submit("What does a tea cost?", files=[file, "another's id"], user="ann")
    batch = client.batch(["a", {"messages": "b"}], window=8, params={"temperature": 0})
    assert_type(batch, BatchHandle)
    assert_type(client.batch("lines.jsonl", skip_invalid=True).progress, BatchView)
    assert_type(list(batch.results(order="completion")), list[BatchResult])
    assert_type(client.batches(batch.batch_id).retry_failed(), BatchHandle)
    assert_type(client.dead(limit=5), list[DeadLetter])
    assert_type(client.usage(tenant="acme"), list[DailyUsage])
    assert_type(client.submit("Hello", wait=True, timeout=5), ChatResponse)
    assert_type(client.submit_many(["a", {"messages": "b"}, ChatJob(messages=[])]), list[JobHandle])
    assert_type(client.submit("Hello", response_model=Item), ModelHandle[Item])
    assert_type(client.submit("Hello", response_model=Item, wait=True), ModelResponse[Item])
    assert_type(client.submit("Hello", response_model=Item).result().parsed, Item)
    client.submit(
        [{"role": "user", "content": "Hello"}],
        model=["openai/gpt-4o-mini", "local/llama3"],
        params={"temperature": 0.2},
        priority=9,
        deadline=60,
        on_busy="interrupt",
        complete=True,
        reasoning={"effort": "high"},
        metadata={"order": 7},
    )


class Support(Agent):
    """An agent."""

    @with_context()
    def buys(self, item: str, tier: str) -> bool:
        """Whether somebody may buy it."""
        return tier == item

    async def get_response(self, message: str, session_context: dict[str, Any], **kwargs: Any) -> str:
        """Its answer."""
        with ResponseStream() as stream:
            stream.write("Hm. ")
        assert_type(self.buys("tea"), bool)
        answer = await ask_model([*get_history(), message], model=["openai/m", "local/m"], stream=False)
        assert_type(answer, ChatResponse)
        await ask_model(message, modell="m")  # type: ignore[call-arg]
        return stream.content


chat_urlpatterns = [path("support/", Support.as_view()), path("more/", Support)]


def with_a_chat(chat: Chat) -> None:
    """The faces."""
    assert_type(chat("Hello", temperature=0.2, history=ChatHistory(system="Be kind.")), ChatResult)
    assert_type(chat.complete("Hello", max_tokens=100, max_continues=3), ChatResult)
    for chunk in chat.stream("Hello", include_reasoning=True):
        assert_type(chunk, ChatStreamChunk)
    assert_type(chat.complete_stream("Hello", on_error="return_partial").result.text, str)
    chat("Hello", temprature=0.2)  # type: ignore[call-arg]
    chat.stream("Hello", n=2)  # type: ignore[call-arg]


async def with_a_chat_object(context: MemoryModel) -> None:
    """A turn of a conversation."""
    chat = ChatObject(
        context=context, session_id="s1", user_input="Hello", train={"role": "system", "content": ""}
    )
    assert_type(await chat.begin(), ChatObject)
    async for piece in chat.get_response_generator():
        assert_type(piece, str | ContentData)
    assert_type(await chat.full_response(), str)
    assert_type(chat.response, UniResponse | None)


async def with_a_chat_manager(config: ModelConfig) -> None:
    """A conversation, and what stands beside it."""
    async with ChatManager(config) as chat:
        sending = chat.send_message("Hello", temperature=0.2)
        async for chunk in sending:
            assert_type(chunk, StreamChunk)
        assert_type(await sending, Response)
        assert_type(await process_stream(chat.send_message("Hi"), lambda chunk: chunk.seq), list[int])
    async with managed_chat_session("llama2", timeout=30.0) as chat:
        assert_type(chat, ChatManager)
    assert_type(await process_message_batch(["a", "b"], batch_size=2), list[ChatResponse])
    assert_type(ResponseCache().get_cached_response("a", ""), Response | None)


async def with_an_aiml_client(client: AIMLClient) -> None:
    """Errors as values."""
    assert_type(await client.chat(prompt="Hello", system_prompt="Be kind."), ChatResponse)
    async for piece in client.stream_chat(prompt="Hello", temperature=0.8):
        assert_type(piece, str)
    assert_type(await client.batch_process(["a", "b"]), list[ChatResponse])
    assert_type(await client.health_check(), ChatResponse)


def refused(client: Client) -> None:
    """What the checker refuses before anything runs."""
    client.submit(7)  # type: ignore[call-overload]
    client.submit("Hello", temprature=0.2)  # type: ignore[call-overload]
    client.submit("Hello", priority="high")  # type: ignore[call-overload]
    client.events(17)  # type: ignore[arg-type]


async def with_a_loop(client: AsyncClient) -> None:
    """A program with an event loop."""
    await client.close()
    async with client:
        handle = await client.submit("Hello", session_id="s1")
        assert_type(handle, AsyncJobHandle)
        async for chunk in handle:
            assert_type(chunk, StreamChunk)
        async for event in handle.events(after=0):
            assert_type(event, AnyEvent)
        async for event in client.events("s1", after=17):
            assert_type(event, AnyEvent)
        assert_type(await handle.result(timeout=60), ChatResponse)
        assert_type(await handle.status(), Status)
        assert_type(await handle.cancel(), Status)
        assert_type(await client.job(handle.job_id), AsyncJobHandle)
        assert_type(await client.retry(handle.job_id), AsyncJobHandle)
        assert_type(await client.dead(), list[DeadLetter])
        assert_type(await client.submit("Hello", wait=True), ChatResponse)
        assert_type(await client.submit("Hello", response_model=Item), AsyncModelHandle[Item])
        assert_type(await client.submit("Hello", response_model=Item, wait=True), ModelResponse[Item])
        assert_type(await client.submit_many(["a"]), list[AsyncJobHandle])
