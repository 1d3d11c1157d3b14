"""`ChatManager` and what stands beside it, over a real worker: the calls of document 001."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from palaver.producer.interfaces import (
    ChainOfThoughtPrompt,
    ChatManager,
    Clients,
    ModelConfig,
    managed_chat_session,
    process_message_batch,
    process_stream,
)
from palaver.shared import ChatInput, ChatMode, Message, Role, StreamChunk, UserMessage
from palaver.shared.errors import (
    ChatError,
    ModelNotFoundError,
    ServiceUnavailableError,
    ValidationError,
    WrongStateError,
)
from palaver.shared.events import StreamEnd
from palaver.shared.ids import new_session_id
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.settings import Settings
from palaver.workers.testing import LocalSystem
from tests.integration.interfaces.conftest import script
from tests.pages import program
from tests.processes import ROOT, Processes

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]

PAGE = ROOT / "producer" / "palaver" / "producer" / "interfaces" / "README.md"
Asked = Callable[[], dict[str, Any]]


def told(text: str) -> dict[str, Any]:
    """What the mirror was asked."""
    request: dict[str, Any] = json.loads(text)
    return request


class TestTheExamples:
    """The calls of the document, with its names and arguments."""

    async def test_a_basic_chat(self, aclients: Clients) -> None:
        said = ""
        async with ChatManager(clients=aclients) as chat:
            await chat.initialize_model("llama2")
            async for chunk in chat.send_message("Explain Python async/await"):
                said += chunk.content
        assert said == "".join(f" w{n}" for n in range(20))

    async def test_advanced_features(self, aclients: Clients, asked: Asked) -> None:
        config = ModelConfig(name="codellama", context_length=4096, temperature=0.7)
        async with ChatManager(config, clients=aclients) as chat:
            chat.enable_function_calling()
            chat.set_mode(ChatMode.CREATIVE)
            response = await chat.get_response_with_meta("Create a FastAPI app")
        assert response.content
        assert response.token_count == 23
        assert not response.estimated
        assert response.model_name == "codellama"
        request = asked()
        assert request["model"] == "codellama"
        assert (request["options"]["num_ctx"], request["options"]["temperature"]) == (4096, 0.7)
        assert "add" in [tool["function"]["name"] for tool in request["tools"]]

    async def test_a_chain_of_thought(self, aclients: Clients) -> None:
        steps = ["Identify entities", "Define relationships", "Specify constraints", "Create SQL statements"]
        async with ChatManager(clients=aclients) as chat:
            await chat.initialize_model("slow/echo")
            prompt = ChainOfThoughtPrompt(task="Design a database schema", steps=steps)
            response = await chat.execute_chain(prompt)
            done = [e.data.done async for e in progress(aclients, chat.session_id, len(steps))]
        assert response.reasoning
        assert response.solution
        assert response.reasoning != response.solution
        assert done == [1, 2, 3, 4]

    async def test_a_message_and_a_response(self, aclients: Clients) -> None:
        message = Message(role=Role.USER, content="Hello", metadata={"page": 3})
        async with ChatManager(clients=aclients) as chat:
            response = await chat.send_message(message)
        assert response is not None
        assert response.content == "Hello"
        with pytest.raises(ValidationError, match="Empty message"):
            UserMessage(content="  ")

    async def test_a_managed_session(self, aclients: Clients) -> None:
        async with managed_chat_session("llama2", timeout=30.0, clients=aclients) as chat:
            response = await chat.send_message("Simple test")
        assert response.model_name == "llama2"
        with pytest.raises(WrongStateError):
            chat.send_message("too late")

    async def test_a_stream_that_is_processed(self, aclients: Clients) -> None:
        async with ChatManager(clients=aclients) as chat:
            sizes = await process_stream(chat.send_message("one two three"), lambda chunk: len(chunk.content))
        assert sum(sizes) == len("one two three")

    async def test_a_batch(self, aclients: Clients) -> None:
        messages = [Message(role=Role.USER, content=f"number {n}") for n in range(25)]
        responses = await process_message_batch(messages, batch_size=10, clients=aclients)
        assert [response.content for response in responses] == [message.text for message in messages]


async def progress(clients: Clients, session_id: str, count: int) -> AsyncGenerator[Any, None]:
    async for event in clients.awaited.events(session_id):
        if event.type == "progress":
            yield event
            count -= 1
        if not count:
            return


class TestSending:
    async def test_both_uses_of_one_object_are_one_job(self, aclients: Clients) -> None:
        async with ChatManager(clients=aclients) as chat:
            sending = chat.send_message("once")
            unwanted = chat.send_message("never")
            text = "".join([chunk.content async for chunk in sending])
            response = await sending
            messages = await aclients.awaited.ledger.messages(chat.session_id)
        assert text == response.content == "once"
        assert [json.loads(message)["content"] for message in messages] == ["once", "once"]
        assert unwanted is not sending

    async def test_a_waiter_that_goes_takes_the_job_from_nobody(self, aclients: Clients) -> None:
        async with ChatManager(clients=aclients) as chat:
            sending = chat.send_message("still here")
            waiter = asyncio.ensure_future(sending.handle())
            await asyncio.sleep(0)
            waiter.cancel()
            assert (await sending).content == "still here"

    async def test_a_conversation_goes_on(self, aclients: Clients) -> None:
        session = new_session_id()
        async with ChatManager(session_id=session, clients=aclients) as chat:
            await chat.send_message("one")
        async with ChatManager({"name": "mirror/m"}, session_id=session, clients=aclients) as chat:
            request = told((await chat.send_message("two")).content)
        assert [message["content"] for message in request["messages"]] == ["one", "one", "two"]

    async def test_thoughts_are_no_text(self, aclients: Clients) -> None:
        async with ChatManager({"name": "scripted/reasoning"}, clients=aclients) as chat:
            sending = chat.send_message("Hm")
            assert "".join([chunk.content async for chunk in sending]) == "Hm"
            assert (await sending).reasoning == "The user said something. I shall say it again."

    async def test_input_is_what_the_document_says(self, aclients: Clients) -> None:
        asking = ChatInput(message="  padded  ", system_prompt="Be brief.")
        async with ChatManager({"name": "mirror/m"}, clients=aclients) as chat:
            request = told((await chat.send_message(asking)).content)
        assert [message["content"] for message in request["messages"]] == ["Be brief.", "padded"]
        assert ChatInput(message="\N{UMBRELLA}" * 4096).message
        with pytest.raises(ValidationError, match="Message too long"):
            ChatInput(message="\N{UMBRELLA}" * 4097)

    async def test_what_a_call_says_wins_over_config_and_config_over_the_mode(
        self, aclients: Clients
    ) -> None:
        async with ChatManager({"name": "mirror/m", "context_length": 4096}, clients=aclients) as chat:
            chat.set_mode("precise")
            moded = told((await chat.send_message("one")).content)
        config = ModelConfig(name="mirror/m", temperature=0.7)
        async with ChatManager(config, clients=aclients) as chat:
            chat.set_mode(ChatMode.CREATIVE)
            configured = told((await chat.send_message("one")).content)
            called = told((await chat.send_message("two", temperature=0.1, color="red")).content)
        assert moded["params"] == {"temperature": 0.2}  # a context length is said to Ollama alone
        assert configured["params"] == {"temperature": 0.7}
        assert called["params"] == {"temperature": 0.1, "extra": {"color": "red"}}

    async def test_tools_are_off_until_they_are_enabled(self, aclients: Clients) -> None:
        async with ChatManager({"name": "mirror/m"}, clients=aclients) as chat:
            before = told((await chat.send_message("one")).content)
            chat.enable_function_calling([{"name": "add"}])
            after = told((await chat.send_message("two")).content)
        assert (before["tools"], after["tools"]) == ([], ["add"])


class TestErrors:
    async def test_a_model_that_is_not_there(self, aclients: Clients) -> None:
        async with ChatManager(clients=aclients) as chat:
            with pytest.raises(ModelNotFoundError):
                await chat.initialize_model("llama7")
            with pytest.raises(ModelNotFoundError):
                await chat.initialize_model("scripted/nobody")
            await chat.initialize_model("default")
            assert (await chat.send_message("still works")).content == "still works"

    async def test_a_provider_that_fails_is_a_chat_error(self, aclients: Clients) -> None:
        async with ChatManager(clients=aclients) as chat:
            with pytest.raises(ChatError) as caught:
                await chat.send_message(script(fail={"status": 401, "after": 1}), max_retries=0)
            with pytest.raises(ChatError):
                [_ async for _ in chat.send_message(script(fail={"status": 500}), max_retries=0)]
            with pytest.raises(ChatError):
                await chat.initialize_model("nowhere/m")
        assert caught.value.context == {"type": "AuthenticationError", "code": "authentication"}
        assert caught.value.response.is_error

    async def test_a_step_that_fails_is_named(self, aclients: Clients) -> None:
        async with ChatManager({"name": "failing/m"}, clients=aclients) as chat:
            with pytest.raises(ChatError, match="step 2 of 2"):
                await chat.execute_chain({"task": "think", "steps": ["first", "second"]})

    async def test_wrong_input_is_refused_before_anything_is_stored(self, aclients: Clients) -> None:
        for config in ({"name": ""}, {"name": "m", "context_length": 0}, {"name": "m", "temperature": 3}):
            with pytest.raises(ValidationError):
                ChatManager(config, clients=aclients)
        for prompt in ({"task": " ", "steps": ["s"]}, {"task": "t", "steps": []}):
            with pytest.raises(ValidationError):
                ChainOfThoughtPrompt(**prompt)
        async with ChatManager(clients=aclients) as chat:
            for wrong in (chat.send_message("  "), chat.send_message("x", temperature="hot")):
                with pytest.raises(ValidationError):
                    await wrong
            with pytest.raises(ValidationError, match="mode"):
                chat.set_mode("wild")
            with pytest.raises(ValidationError, match="name"):
                await chat.initialize_model("  ")
            assert await aclients.awaited.ledger.seq(chat.session_id) == 0

    async def test_the_end_comes_whatever_happens_and_may_come_twice(self, aclients: Clients) -> None:
        chat = ChatManager(clients=aclients)
        with pytest.raises(KeyError):
            async with chat:
                raise KeyError
        await chat.cleanup()
        with pytest.raises(WrongStateError):
            await chat.send_message("too late")
        with pytest.raises(WrongStateError):
            await chat.initialize()

    async def test_a_session_that_cannot_be_initialised_in_time(self, redis_url: str, namespace: str) -> None:
        async with Clients(Settings(redis_url=redis_url, namespace=namespace)) as nobody:
            with pytest.raises(TimeoutError):
                async with managed_chat_session("scripted/echo", timeout=0.2, clients=nobody):
                    pytest.fail("there is no worker")
            with pytest.raises(ServiceUnavailableError):
                async with managed_chat_session("llama2", timeout=5, clients=nobody):
                    pytest.fail("nobody serves it")


class TestProcessing:
    async def test_a_handler_that_fails_closes_the_stream(self) -> None:
        closed = False

        async def stream() -> AsyncGenerator[StreamChunk, None]:
            nonlocal closed
            try:
                for seq in range(1, 4):
                    yield StreamChunk(seq, "x")
            finally:
                closed = True

        def handler(chunk: StreamChunk) -> int:
            return 1 // (2 - chunk.seq)

        with pytest.raises(ZeroDivisionError):
            await process_stream(stream(), handler)
        assert closed

    async def test_one_that_fails_fails_no_other(self, many: Clients) -> None:
        messages = ["one", script(fail={"status": 401}), "  ", "two"]
        counts: list[tuple[int, int]] = []
        responses = await process_message_batch(
            messages, 2, clients=many, on_settled=lambda *count: counts.append(count)
        )
        assert [response.is_error for response in responses] == [False, True, True, False]
        assert [response.content for response in responses][::3] == ["one", "two"]
        assert counts == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert await process_message_batch([], clients=many) == []

    async def test_or_the_first_error_is_raised_when_all_are_settled(self, many: Clients) -> None:
        counts: list[int] = []
        with pytest.raises(ValidationError):
            await process_message_batch(
                ["one", "  ", "two"],
                raise_on_error=True,
                clients=many,
                on_settled=lambda done, _: counts.append(done),
            )
        assert counts == [1, 2, 3]

    async def test_what_nobody_can_be_asked_is_an_error_each(self, many: Clients) -> None:
        for messages, model in ((["  ", ""], None), (["x"] * 2, "?")):
            responses = await process_message_batch(messages, clients=many, model=model)
            kinds = [response.error_info.type for response in responses if response.error_info]
            assert kinds == ["ValidationError"] * 2

    @pytest.mark.parametrize("size", [0, -1, True, "ten"])
    async def test_a_wrong_batch_size(self, aclients: Clients, size: Any) -> None:
        with pytest.raises(ValidationError, match="batch_size"):
            await process_message_batch(["one"], size, clients=aclients)

    async def test_no_more_run_at_once_and_all_are_cancelled_together(self, aclients: Clients) -> None:
        session = new_session_id()
        batch = asyncio.ensure_future(
            process_message_batch(
                [script(endless=True, rate=20)] * 5,
                batch_size=2,
                clients=aclients,
                session_id=session,
                on_busy="parallel",
            )
        )
        started: set[str] = set()
        async for event in aclients.awaited.events(session):
            if event.type == "text_chunk":
                started.add(event.job_id)
            if len(started) == 2:
                break
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        ended: list[str] = []
        async for event in aclients.awaited.events(session):
            if event.type == "job_queued":
                started.add(event.job_id)
            if isinstance(event, StreamEnd):
                ended.append(event.data.status)
            if len(ended) == 2:
                break
        assert ended == ["cancelled", "cancelled"]
        assert len(started) == 2

    async def test_a_batch_ends_with_whoever_waits_for_it(self, aclients: Clients) -> None:
        stored = Path(aclients.settings.files_url.removeprefix("file://")) / "batches"
        before = set(stored.glob("*"))
        counts: asyncio.Queue[int] = asyncio.Queue()
        prompts = ["quick", *[script(endless=True, rate=20)] * 5]
        many = asyncio.ensure_future(
            process_message_batch(
                prompts,
                batch_size=2,
                clients=aclients,
                on_settled=lambda done, _: counts.put_nowait(done),
            )
        )
        assert await counts.get() == 1
        (opened,) = set(stored.glob("*")) - before
        many.cancel()
        with pytest.raises(asyncio.CancelledError):
            await many
        view = await (await aclients.awaited.batches(opened.name)).wait(timeout=30)
        assert (view.status, view.counts.completed, view.batch.window) == ("cancelled", 1, 2)

    async def test_a_batch_ends_with_a_callback_that_raises(self, aclients: Clients) -> None:
        stored = Path(aclients.settings.files_url.removeprefix("file://")) / "batches"
        before = set(stored.glob("*"))

        def fail(done: int, total: int) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await process_message_batch(
                ["quick", *[script(endless=True, rate=20)] * 2], clients=aclients, on_settled=fail
            )
        (opened,) = set(stored.glob("*")) - before
        assert (await (await aclients.awaited.batches(opened.name)).wait(timeout=30)).status == "cancelled"

    @pytest.mark.parametrize("has_store", [False, True])
    async def test_nobody_waits_longer_than_for_a_job(self, tmp_path: Path, has_store: bool) -> None:
        files_url = f"file://{tmp_path}/files" if has_store else ""
        with LocalSystem(files_url=files_url, deadline=1) as system:
            async with Clients(system.settings) as clients:
                with SyncLedger(system.settings) as ledger:
                    ledger.query(operations.pause_profile(ledger.keys, "scripted", by="ann@desk"))
                responses = await process_message_batch(["one", "two"], clients=clients)
        assert [response.error_info and response.error_info.code for response in responses] == [
            "job_expired"
        ] * 2


def test_the_page_s_example_answers(system: Settings, processes: Processes) -> None:
    env = {"PALAVER_REDIS_URL": system.redis_url, "PYTHONWARNINGS": "error"}
    running = processes.start((sys.executable, "-c", program(PAGE, "ChatManager")), env=env)
    assert running.wait() == 0
    running.drained()
    assert running.lines == ["Piece by piece, or whole echo 10"]
