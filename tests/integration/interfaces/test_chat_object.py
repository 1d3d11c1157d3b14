"""`ChatObject` over a real worker: the calls of document 000, with its names and arguments."""

import asyncio
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from palaver.producer.interfaces import (
    AmritaConfig,
    ChatObject,
    Clients,
)
from palaver.shared import CompletionEvent, Hooks, MemoryModel, Message, ModelPreset, PreCompletionEvent
from palaver.shared.errors import (
    AuthenticationError,
    ConfigurationError,
    JobCancelledError,
    JobNotFoundError,
    ValidationError,
    WrongStateError,
)
from palaver.shared.events import ContentData
from palaver.shared.jobs import Status
from tests.integration.interfaces.conftest import KEY, running_system, script

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]

TRAIN = Message(content="You are a helpful assistant.", role="system")
MIRROR = ModelPreset(model="m", base_url="http://127.0.0.1:9/v1", api_key=KEY)


def new(clients: Clients, user_input: Any = "Hello!", **given: Any) -> ChatObject:
    defaults: dict[str, Any] = {
        "context": MemoryModel(),
        "session_id": "session_123",
        "train": TRAIN.model_dump(),
    }
    return ChatObject(user_input=user_input, clients=clients, **(defaults | given))


def preset(model: str, **given: Any) -> ModelPreset:
    return ModelPreset(model=model, **given)


async def sent(chat: ChatObject) -> dict[str, Any]:
    """What the provider was asked, by the mirror."""
    found: dict[str, Any] = json.loads(await chat.begin().full_response())
    return found


class TestTheDocumentsExamples:
    async def test_a_callback_given_at_the_beginning(self, aclients: Clients) -> None:
        received: list[Any] = []

        async def callback_handler(message: Any) -> None:
            received.append(message)

        context = MemoryModel()
        chat = ChatObject(
            context=context,
            session_id="session_123",
            user_input="Hello!",
            train=TRAIN.model_dump(),
            callback=callback_handler,
            queue_size=20,
            overflow_queue_size=40,
            clients=aclients,
        )
        async with chat.begin():
            pass
        assert "".join(received) == "Hello!"

    async def test_a_callback_set_afterwards(self, aclients: Clients) -> None:
        received: list[Any] = []

        async def callback_handler(message: Any) -> None:
            received.append(message)

        chat = ChatObject(
            context=MemoryModel(),
            session_id="session_123",
            user_input="Hello!",
            train=TRAIN.model_dump(),
            clients=aclients,
        )
        chat.set_callback_func(callback_handler)
        await chat.begin(wait=True)
        assert "".join(received) == "Hello!"


class TestATurn:
    async def test_it_begins_once(self, aclients: Clients) -> None:
        chat = new(aclients)
        assert not chat.is_running
        assert chat.begin() is chat.begin() is await chat
        assert await chat.full_response() == "Hello!"
        assert await chat.begin(wait=True) is chat
        assert len(chat.data.messages) == 2
        view = await aclients.awaited.view(chat.stream_id)
        assert (view.status, view.session_id, view.attempt) == (Status.COMPLETED, "session_123", 1)
        assert (chat.is_running, chat.is_done, chat.queue_done) == (False, True, True)
        assert new(aclients).stream_id != chat.stream_id

    async def test_its_times(self, aclients: Clients) -> None:
        before = datetime.now(UTC)
        chat = new(aclients, preset=preset("slow/numbers"))
        assert before <= chat.time <= chat.last_call
        assert str(chat.time.astimezone().year) in chat.timestamp
        calls = [chat.last_call]
        async for _ in chat.begin().get_response_generator():
            calls.append(chat.last_call)
            assert chat.end_at is None
            assert chat.response is None
        assert calls == sorted(calls)
        assert calls[-1] > calls[0]
        assert chat.end_at is not None
        assert chat.end_at >= chat.time

    async def test_any_number_of_readers_early_or_late(self, aclients: Clients) -> None:
        chat = new(aclients, preset=preset("slow/numbers")).begin()

        async def read() -> str:
            return "".join([piece async for piece in chat.get_response_generator() if isinstance(piece, str)])

        early = await asyncio.gather(read(), read())
        assert {*early, await read(), await chat.full_response()} == {"".join(f" w{n}" for n in range(20))}

    async def test_thoughts_are_no_part_of_the_response(self, aclients: Clients) -> None:
        chat = new(
            aclients,
            script(reasoning="Well.", text="Yes.", usage={"prompt_tokens": 3, "completion_tokens": 0}),
        )
        pieces = [piece async for piece in chat.begin().get_response_generator()]
        assert "".join(map(str, pieces)) == await chat.full_response() == "Yes."
        assert chat.response is not None
        assert (chat.response.role, chat.response.content, chat.response.tool_calls) == (
            "assistant",
            "Yes.",
            None,
        )
        assert chat.response.usage == {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}

    async def test_a_failure_is_raised_wherever_somebody_waits(self, aclients: Clients) -> None:
        context = MemoryModel()
        chat = new(aclients, context=context, preset=preset("scripted/status-401")).begin()
        with pytest.raises(AuthenticationError):
            await chat.full_response()
        with pytest.raises(AuthenticationError):
            await anext(chat.get_response_generator())
        with pytest.raises(AuthenticationError):
            async with chat:
                pass
        assert (chat.is_done, chat.response, context.messages) == (True, None, [])
        assert chat.end_at is not None

    async def test_what_is_refused_is_said_at_once_and_never_begins(self, aclients: Clients) -> None:
        for wrong in (
            {"user_input": " "},
            {"user_input": [{"type": "sound"}]},
            {"session_id": "s 1"},
            {"train": {"content": "x"}},
            {"queue_size": 0},
            {"overflow_queue_size": True},
            {"config": {"llm": {"temprature": 1}}},
        ):
            with pytest.raises(ValidationError):
                new(aclients, **wrong)
        with pytest.raises(ConfigurationError):
            new(aclients, preset=preset("m", base_url="http://other/v1"))
        with pytest.raises(ValidationError, match="nobody"):
            await new(aclients, preset=preset("nobody/m")).begin()

    async def test_nothing_waits_for_a_turn_that_was_never_begun(self, aclients: Clients) -> None:
        chat = new(aclients)
        with pytest.raises(RuntimeError, match="begin"):
            await chat.full_response()
        with pytest.raises(RuntimeError, match="begin"):
            chat.get_response_generator()


class TestCancel:
    async def test_it_reaches_the_job(self, aclients: Clients) -> None:
        chat = new(aclients, script(endless=True, rate=20))
        with pytest.raises(RuntimeError, match="begin"):
            await chat.cancel()
        await chat.begin().cancel()
        with pytest.raises(JobCancelledError):
            await chat.full_response()
        assert (await aclients.awaited.view(chat.stream_id)).status is Status.CANCELLED
        await chat.cancel()  # once more, of a turn that has ended
        assert chat.data.messages == []

    @pytest.mark.parametrize("begun", [False, True])
    async def test_a_turn_whose_task_is_cancelled_ends_and_so_does_its_job(
        self, aclients: Clients, begun: bool
    ) -> None:
        chat = new(aclients, script(endless=True, rate=20)).begin()
        if begun:
            await anext(chat.get_response_generator())
        task_of(chat).cancel()
        async with asyncio.timeout(30):
            for end in (chat.finish(), chat.full_response(), collect(chat)):
                with pytest.raises(JobCancelledError):
                    await end
        assert (chat.is_done, chat.end_at is not None) == (True, True)
        if begun:
            job = await aclients.awaited.job(chat.stream_id)
            with pytest.raises(JobCancelledError):
                await job.result(30)
        else:
            with pytest.raises(JobNotFoundError):
                await aclients.awaited.job(chat.stream_id)

    def test_without_a_loop_it_cannot_begin(self, aclients: Clients) -> None:
        with pytest.raises(WrongStateError, match="no event loop"):
            new(aclients).begin()


def task_of(chat: ChatObject) -> asyncio.Task[Any]:
    return next(task for task in asyncio.all_tasks() if task.get_name().endswith(chat.stream_id))


async def collect(chat: ChatObject) -> list[Any]:
    return [piece async for piece in chat.get_response_generator()]


class TestWhatIsSent:
    async def test_the_system_prompt_the_memory_and_the_message(self, aclients: Clients) -> None:
        context = MemoryModel(
            messages=[
                {"role": "system", "content": "old"},
                {"role": "user", "content": "One?"},
                {"role": "assistant", "content": "Two."},
            ]
        )
        for train in (TRAIN, TRAIN.model_dump()):
            chat = new(aclients, "Three?", context=context.model_copy(deep=True), train=train, preset=MIRROR)
            messages = (await sent(chat))["messages"]
            assert [(message["role"], message["content"]) for message in messages] == [
                ("system", "You are a helpful assistant."),
                ("user", "One?"),
                ("assistant", "Two."),
                ("user", "Three?"),
            ]
            assert chat.train == {"role": "system", "content": "You are a helpful assistant."}

    async def test_a_summary_is_sent_with_the_system_prompt(self, aclients: Clients) -> None:
        context = MemoryModel(abstract="They spoke of ships.")
        system = (await sent(new(aclients, context=context, preset=MIRROR)))["messages"][0]["content"]
        assert system.startswith(TRAIN.text)
        assert system.endswith("They spoke of ships.")

    async def test_images_as_they_are(self, aclients: Clients) -> None:
        parts = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        ]
        chat = new(aclients, parts, preset=MIRROR)
        assert (await sent(chat))["messages"][-1] == {"role": "user", "content": parts}
        assert chat.data.messages[0] == chat.user_message

    async def test_a_preset_and_a_configuration(self, aclients: Clients) -> None:
        config = AmritaConfig(llm={"max_tokens": 9, "llm_timeout": 7, "max_retries": 1})
        chosen = MIRROR.model_copy(update={"extra": {"top_a": 1}})
        given = {"model": "m", "config": {"temperature": 0.3}}
        chosen = ModelPreset(**(chosen.model_dump() | given), api_key=KEY)
        chat = new(aclients, preset=chosen, config=config)
        asked = await sent(chat)
        assert asked["params"] == {"temperature": 0.3, "max_tokens": 9, "extra": {"top_a": 1}}
        assert (asked["model"], asked["timeouts"]["read"]) == ("m", 7)
        document = (await aclients.awaited.view(chat.stream_id, document=True)).document
        assert document is not None
        assert document.max_retries == 1
        assert document.metadata == {"config": {"llm": {"max_tokens": 9, "llm_timeout": 7, "max_retries": 1}}}
        plain = await sent(new(aclients, preset=MIRROR))
        assert (plain["params"], plain["timeouts"]) == ({}, None)

    async def test_tools_that_there_are_not_cannot_be_required(self, aclients: Clients) -> None:
        with pytest.raises(ValidationError, match=r"config\.llm\.require_tools: cannot be kept"):
            new(aclients, config={"llm": {"require_tools": True}})

    async def test_minimal_context(self, aclients: Clients) -> None:
        context = MemoryModel(messages=[{"role": "user", "content": "One?"}])
        config = {"function_config": {"use_minimal_context": True}}
        asked = await sent(new(aclients, context=context, config=config, preset=MIRROR))
        assert [message["role"] for message in asked["messages"]] == ["system", "user"]

    async def test_a_preset_of_another_kind_is_another(self, aclients: Clients) -> None:
        with pytest.raises(ConfigurationError):
            new(aclients, preset=ModelPreset(**MIRROR.model_dump() | {"protocol": "openai"}, api_key=KEY))


class TestMemory:
    async def test_turns_go_on_with_it(self, aclients: Clients) -> None:
        context = MemoryModel()
        for text in ("One.", "Two."):
            await new(aclients, text, context=context, session_id="memory").begin(wait=True)
        assert [(message.role, message.text) for message in context.messages] == [
            ("user", "One."),
            ("assistant", "One."),
            ("user", "Two."),
            ("assistant", "Two."),
        ]
        stored = [json.loads(message) for message in await aclients.awaited.ledger.messages("memory")]
        assert [message["content"] for message in stored] == ["One.", "One.", "Two.", "Two."]

    async def test_fifty_sessions_do_not_meet(self, aclients: Clients) -> None:
        contexts = [MemoryModel(messages=[{"role": "user", "content": f"I am {n}."}]) for n in range(50)]
        chats = [
            new(aclients, "Who?", context=context, session_id=f"s{n}", preset=MIRROR)
            for n, context in enumerate(contexts)
        ]
        answers = await asyncio.gather(*map(sent, chats))
        assert [answer["messages"][1]["content"] for answer in answers] == [f"I am {n}." for n in range(50)]
        assert {len(answer["messages"]) for answer in answers} == {3}


class TestSlowReaders:
    async def test_everything_comes_in_order_however_the_reader_pauses(self, aclients: Clients) -> None:
        chat = new(aclients, script(n=10_000, rate=0), queue_size=2, overflow_queue_size=3).begin()
        text, pieces = "", chat.get_response_generator()
        first = await anext(pieces)
        assert await chat.full_response()  # the job has ended: its events have passed this reader
        async for piece in pieces:
            assert isinstance(piece, str)
            text += piece
            await asyncio.sleep(0)
        assert f"{first}{text}" == "".join(f" w{n}" for n in range(10_000))

    async def test_what_the_log_no_longer_has_is_taken_from_the_job(self, tmp_path: Path) -> None:
        with running_system(tmp_path, PALAVER_LOG_MAXLEN="50") as settings:
            async with Clients(settings) as clients:
                prompt = script(n=6000, rate=1000)  # some come one by one, whoever is held up for two seconds
                chat = new(clients, prompt, queue_size=2, overflow_queue_size=3).begin()
                pieces = chat.get_response_generator()
                seen = [await anext(pieces)]
                text = await chat.full_response()
                job = await clients.awaited.job(chat.stream_id)
                log = await clients.awaited.ledger.events(job.session_id)
                assert json.loads(log[0])["seq"] > 10, "the log has it all: this proves nothing"
                seen += [piece async for piece in pieces]
        assert "".join(map(str, seen)) == text == "".join(f" w{n}" for n in range(6000))

    async def test_a_slow_callback_keeps_no_job_back(self, aclients: Clients) -> None:
        gate, received, running = asyncio.Event(), list[str](), list[int]()

        async def slow(piece: Any) -> None:
            running.append(1)
            assert len(running) == 1
            await gate.wait()
            received.append(piece)
            running.pop()

        chat = new(aclients, script(n=5000, rate=0), callback=slow, queue_size=2, overflow_queue_size=3)
        await chat.begin()
        job = await aclients.awaited.job(chat.stream_id)
        text = (await job.result(60)).content
        assert received == []
        gate.set()
        await chat.finish()
        assert "".join(received) == text


class TestCallbacks:
    async def test_one_that_comes_late_gets_what_was_said_before(self, aclients: Clients) -> None:
        chat = await new(aclients, preset=preset("scripted/numbers")).begin(wait=True)
        received: list[Any] = []

        async def late(piece: Any) -> None:
            received.append(piece)

        chat.set_callback_func(late)
        await chat.finish()
        assert "".join(received) == "".join(f" w{n}" for n in range(20))

    async def test_there_is_one_and_no_reader_beside_it(self, aclients: Clients) -> None:
        async def callback(_piece: Any) -> None: ...

        chat = new(aclients, callback=callback).begin()
        with pytest.raises(RuntimeError, match="already been set"):
            chat.set_callback_func(callback)
        with pytest.raises(RuntimeError, match="callback"):
            chat.get_response_generator()
        with pytest.raises(RuntimeError, match="callback"):
            await chat.full_response()
        await chat.finish()

    async def test_what_it_raises_is_told_and_ends_nothing(
        self, aclients: Clients, caplog: pytest.LogCaptureFixture
    ) -> None:
        received: list[Any] = []

        async def faulty(piece: Any) -> None:
            received.append(piece)
            raise KeyError(f"a secret: {piece}")

        chat = new(aclients, preset=preset("scripted/numbers"), callback=faulty)
        with caplog.at_level(logging.WARNING, "palaver.producer"):
            await chat.begin(wait=True)
        assert "".join(received) == "".join(f" w{n}" for n in range(20))
        assert f"callback_failed job={chat.stream_id} error=KeyError" in caplog.text
        assert "secret" not in caplog.text

    async def test_a_failed_job_is_raised_at_its_end(self, aclients: Clients) -> None:
        received: list[Any] = []

        async def callback(piece: Any) -> None:
            received.append(piece)

        chat = new(aclients, script(n=5), preset=preset("scripted/status-401"), callback=callback)
        with pytest.raises(AuthenticationError):
            await chat.begin(wait=True)
        assert received == []


class TestPiecesOfOnesOwn:
    async def test_they_reach_this_object_s_readers_and_nobody_else(self, aclients: Clients) -> None:
        chat = new(aclients, preset=preset("slow/numbers")).begin()
        image = ContentData(content_type="image", data={"url": "https://example.com/a.png"})
        seen: list[Any] = []
        async for piece in chat.get_response_generator():
            if not seen:
                await chat.yield_response("one moment")
                await chat.yield_response(image)
            seen.append(piece)
        own = [piece for piece in seen if piece in ("one moment", image)]
        assert own == ["one moment", image]
        assert ContentData.model_validate_json(image.to_json()) == image
        assert [piece async for piece in chat.get_response_generator()][:2] == own
        assert await chat.full_response() == "".join(f" w{n}" for n in range(20))
        events = [event.type async for event in (await aclients.awaited.job(chat.stream_id)).events()]
        assert "content" not in events

    async def test_none_follows_the_end(self, aclients: Clients) -> None:
        chat = await new(aclients).begin(wait=True)
        with pytest.raises(RuntimeError, match="Queue is closed"):
            await chat.yield_response("too late")

    async def test_a_piece_is_text_or_an_object_of_json(self, aclients: Clients) -> None:
        for wrong in (7, {"content_type": "image", "data": object()}):
            with pytest.raises(ValidationError):
                await new(aclients).yield_response(wrong)  # type: ignore[arg-type]


class TestHooks:
    async def test_messages_before_and_text_afterwards(self, aclients: Clients) -> None:
        hooks, order = Hooks(), list[str]()

        @hooks.on_precompletion(priority=5)
        async def second(event: PreCompletionEvent) -> None:
            order.append("second")
            event.messages.insert(1, Message(role="user", content="Hidden."))

        @hooks.on_precompletion(priority=1)
        def first(event: PreCompletionEvent) -> None:
            order.append("first")
            assert [message.role for message in event.messages] == ["system", "user"]

        @hooks.on_precompletion(priority=6)
        async def faulty(event: PreCompletionEvent) -> None:
            event.messages.clear()
            raise ValueError

        @hooks.on_precompletion(priority=7, block=True)
        async def blocking(event: PreCompletionEvent) -> None:
            order.append("blocking")

        @hooks.on_precompletion(priority=8)
        async def never(event: PreCompletionEvent) -> None:
            order.append("never")

        @hooks.on_completion()
        async def told(event: CompletionEvent) -> None:
            asked = json.loads(event.text)["messages"]
            event.text = f"{len(asked)} messages"

        chat = new(aclients, hooks=hooks, preset=MIRROR).begin()
        assert await chat.full_response() == "3 messages"
        assert order == ["first", "second", "blocking"]
        assert [message.text for message in chat.data.messages] == ["Hello!", "3 messages"]
        assert chat.response is not None
        assert chat.response.content == "3 messages"

    async def test_one_that_leaves_what_is_wrong_has_not_run(self, aclients: Clients) -> None:
        hooks = Hooks()

        @hooks.on_precompletion()
        def wrong(event: PreCompletionEvent) -> None:
            event.messages = [{"role": "boss", "content": "x"}]  # type: ignore[list-item]

        assert await new(aclients, hooks=hooks).begin().full_response() == "Hello!"
