"""What needs no job: retries of an operation, what is logged, and what may follow what was said."""

import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from palaver.producer.interfaces import (
    AIMLClient,
    ChatLogger,
    ChatManager,
    Clients,
    aiml_client,
    chat_operations,
    safe_chat_operation,
)
from palaver.producer.interfaces.options import job_fields
from palaver.shared import ChatParams, ChatResponse, Message, Response
from palaver.shared.errors import ChatClientError, ChatError, ModelNotFoundError, ValidationError
from palaver.workers.testing import LocalSystem

SECRET = "xyzzy-42"


class Operation:
    """Fails with these errors, one after the other, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.count = list(errors), 0

    async def __call__(self) -> str:
        self.count += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_operations, "RETRY_SECONDS", 0)


class TestSafeChatOperation:
    async def test_a_chat_error_is_tried_again_with_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        operation = Operation(ChatError("busy"), ChatError("still"))
        assert await safe_chat_operation(operation) == "done"
        assert operation.count == 3
        assert caplog.messages == ["Retry 1/3: busy", "Retry 2/3: still"]

    async def test_the_last_error_is_raised(self) -> None:
        operation = Operation(ChatError("1"), ChatError("2"), ChatError("3"))
        with pytest.raises(ChatError, match="2"):
            await safe_chat_operation(operation, max_retries=2)
        assert operation.count == 2

    @pytest.mark.parametrize("error", [ModelNotFoundError(), ValueError()])
    async def test_no_other_error_is_tried_again(self, error: Exception) -> None:
        operation = Operation(error)
        with pytest.raises(type(error)):
            await safe_chat_operation(operation)
        assert operation.count == 1

    async def test_an_operation_is_a_message_to_a_chat(self, caplog: pytest.LogCaptureFixture) -> None:
        with LocalSystem() as system:
            system.models.reply(fail={"status": 503})
            system.models.reply("at last")
            async with Clients(system.settings) as clients, ChatManager(clients=clients) as chat:
                response = await safe_chat_operation(lambda: chat.send_message("Hello", max_retries=0))
        assert response.content == "at last"
        assert [text for text in caplog.messages if text.startswith("Retry 1/3")]

    @pytest.mark.parametrize("attempts", [0, -1, True, 1.5])
    async def test_at_least_one_attempt(self, attempts: Any) -> None:
        with pytest.raises(ValidationError, match="max_retries"):
            await safe_chat_operation(Operation(), max_retries=attempts)


class TestChatLogger:
    @pytest.fixture
    def message(self) -> Message:
        return Message(role="user", content=SECRET)

    @pytest.fixture
    def response(self) -> Response:
        usage = {"prompt_tokens": 1, "completion_tokens": 2}
        return Response.of(ChatResponse(content=f"{SECRET}!", model="m", usage=usage))

    def record(
        self, caplog: pytest.LogCaptureFixture, logger: ChatLogger, message: Any, response: Any
    ) -> Any:
        with caplog.at_level(logging.INFO, "chat"):
            logger.log_interaction(message, response, metadata={"page": 3})
        (record,) = caplog.records
        return record

    def test_what_was_said_is_told_by_its_length(
        self, caplog: pytest.LogCaptureFixture, message: Message, response: Response
    ) -> None:
        record = self.record(caplog, ChatLogger(), message, response)
        assert (record.name, record.levelname, record.getMessage()) == ("chat", "INFO", "Chat interaction")
        assert record.chat_message == {"role": "user", "characters": 8}
        assert record.chat_response == {"characters": 9, "model_name": "m", "token_count": 3}
        assert record.chat_metadata == {"page": 3}
        assert SECRET not in json.dumps(vars(record), default=str)

    def test_where_it_is_wanted_it_is_told(
        self,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        message: Message,
        response: Response,
    ) -> None:
        monkeypatch.setenv("PALAVER_LOG_CONTENT", "1")
        record = self.record(caplog, ChatLogger(), message, response)
        assert record.chat_message["content"] == SECRET
        assert record.chat_response["content"] == f"{SECRET}!"
        caplog.clear()
        assert SECRET not in str(vars(self.record(caplog, ChatLogger(content=False), message, response)))


def test_options_are_fields_parameters_or_anything_else() -> None:
    options = {"deadline": 5, "temperature": 0.1, "my": 1, "extra": {"other": 2}, "top_p": None, "params": {}}
    fields = job_fields(options, ChatParams(temperature=0.7, seed=3))
    assert fields.keys() == {"deadline", "params"}
    assert fields["params"] == ChatParams(temperature=0.1, seed=3, extra={"my": 1, "other": 2})


@pytest.mark.parametrize(
    ("text", "said", "fresh"),
    [("one two", "one", " two"), ("on", "one", ""), ("", "one", ""), ("a", "", "a")],
)
def test_an_answer_that_begins_anew_goes_on_where_it_was(text: str, said: str, fresh: str) -> None:
    assert aiml_client._unsaid(text, said) == fresh


@pytest.fixture
def restarting() -> Iterator[LocalSystem]:
    """A system whose answers begin anew when they are cut."""
    with LocalSystem(providers={"aiml": {"kind": "aiml", "resume": "restart"}}) as system:
        yield system


@pytest.mark.parametrize(
    ("again", "said", "fails"),
    [("one two three", "one two three", False), ("one", "one two", True), ("other words", "one two", True)],
)
async def test_a_stream_says_nothing_twice_and_ends_as_the_answer_or_fails(
    restarting: LocalSystem, again: str, said: str, fails: bool
) -> None:
    restarting.models.reply("one two three", fail={"kind": "cut", "after": 2})
    restarting.models.reply(again)
    pieces: list[str] = []
    async with Clients(restarting.settings) as clients, AIMLClient(clients=clients) as client:
        with pytest.raises(ChatClientError, match="anew") if fails else nullcontext():
            await listen(client.stream_chat("Hello"), pieces)
        assert "".join(pieces) == said
        assert client.last_response is not None
        assert client.last_response.is_error is fails


async def listen(stream: AsyncIterator[str], pieces: list[str]) -> None:
    async for piece in stream:
        pieces.append(piece)  # noqa: PERF401 - they are there when it fails
