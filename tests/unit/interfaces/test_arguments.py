"""Wrong arguments of the faces: refused at the call, in our words, which name the parameter."""

from collections.abc import Callable
from typing import Any

import pytest

from palaver.producer.interfaces import (
    AIMLClient,
    Chat,
    ChatLogger,
    ChatManager,
    ChatObject,
    Clients,
    managed_chat_session,
    process_message_batch,
    process_stream,
    safe_chat_operation,
)
from palaver.shared import ChatHistory, ChatResponse, MemoryModel, Message
from palaver.shared.errors import ValidationError
from palaver.shared.settings import Settings

# Nothing listens there: what is refused asks nobody.
CLIENTS = Clients(Settings(redis_url="redis://127.0.0.1:1/0"))
NUMBER: Any = 5
TEXT: Any = "x"
NOTHING: Any = None
LIST: Any = []
SYSTEM = {"role": "system", "content": "Be kind."}
MESSAGE, ANSWER = Message(role="user", content="x"), ChatResponse()


def chat(**given: Any) -> Chat:
    return Chat(**{"model": "echo/m", "clients": CLIENTS, **given})


def turn(**given: Any) -> ChatObject:
    needed = {"context": MemoryModel(), "session_id": "s1", "user_input": "x", "train": SYSTEM}
    return ChatObject(**{**needed, "clients": CLIENTS, **given})


def refused(param: str, call: Callable[[], Any]) -> Any:
    return pytest.param(param, call, id=f"{param}-{call.__code__.co_firstlineno}")


@pytest.mark.parametrize(
    ("param", "call"),
    [
        refused("base_url", lambda: chat(base_url=5)),
        refused("api_key", lambda: chat(api_key=5)),
        refused("headers", lambda: chat(base_url="http://a", headers=["a"])),
        refused("headers", lambda: chat(base_url="http://a", headers={"a": 5})),
        refused("proxies", lambda: chat(base_url="http://a", proxies="http://b")),
        refused("model", lambda: chat(model=5)),
        refused("max_retries", lambda: chat(max_retries=-1)),
        refused("on_progress", lambda: chat().complete("x", on_progress=NUMBER)),
        refused("on_error_callback", lambda: chat().complete("x", on_error_callback=TEXT)),
        refused("context", lambda: turn(context=None)),
        refused("context", lambda: turn(context={})),
        refused("preset", lambda: turn(preset="x")),
        refused("hooks", lambda: turn(hooks=5)),
        refused("callback", lambda: turn(callback=5)),
        refused("func", lambda: turn().set_callback_func(NUMBER)),
        refused("train", lambda: turn(train={"role": "user", "content": "x"})),
        refused("train", lambda: turn(train={"role": "system", "content": ""})),
        refused("tools", lambda: ChatManager(clients=CLIENTS).enable_function_calling(NUMBER)),
        refused("system", lambda: ChatHistory(NUMBER)),
        refused("result", lambda: ChatHistory().append_result(TEXT)),
        refused("history", lambda: ChatHistory.from_dict({"x": 1})),
        refused("history", lambda: ChatHistory.from_dict(LIST)),
        refused("message", lambda: ChatLogger().log_interaction(NOTHING, ANSWER, {})),
        refused("response", lambda: ChatLogger().log_interaction(MESSAGE, NOTHING, {})),
        refused("metadata", lambda: ChatLogger().log_interaction(MESSAGE, ANSWER, NOTHING)),
    ],
)
def test_a_wrong_argument_is_named(param: str, call: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        call()
    assert refusal.value.param == param
    assert refusal.value.message.startswith(f"{param}: ")


async def test_one_text_is_no_batch() -> None:
    client = AIMLClient(clients=CLIENTS)
    for batch in (client.batch_process("abc"), process_message_batch("abc", clients=CLIENTS)):
        with pytest.raises(ValidationError, match="must be a list, not a string of 3 characters"):
            await batch
    with pytest.raises(ValidationError, match="on_settled"):
        await client.batch_process(["a"], on_settled=NUMBER)


@pytest.mark.parametrize(
    ("param", "call"),
    [
        ("operation", lambda: safe_chat_operation(NUMBER)),
        ("stream", lambda: process_stream(LIST, print)),
        ("handler", lambda: process_stream(ChatManager(clients=CLIENTS).send_message("x"), NUMBER)),
    ],
)
async def test_what_is_to_be_called_is_a_function(param: str, call: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError, match=f"^{param}: must be"):
        await call()


async def test_a_timeout_is_a_number() -> None:
    with pytest.raises(ValidationError, match="timeout: must be a number of seconds"):
        async with managed_chat_session("m", timeout=TEXT, clients=CLIENTS):
            pass
