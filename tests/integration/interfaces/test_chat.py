"""`Chat` over a real worker: the calls of document 004, with its names and arguments."""

import asyncio
import json
import sys
from typing import Any

import pytest
import redis

from palaver.producer.interfaces import Chat, Clients
from palaver.shared import ChatHistory, ChatParams, ChatResult, ChatStreamChunk
from palaver.shared.errors import (
    AuthenticationError,
    ChatIncompleteResponseError,
    ConfigurationError,
    PalaverError,
    ValidationError,
)
from palaver.shared.settings import Settings
from tests.integration.interfaces.conftest import KEY, script
from tests.integration.workers.user_tools import numbered
from tests.pages import program
from tests.processes import ROOT, Processes

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]

PAGE = ROOT / "producer" / "palaver" / "producer" / "interfaces" / "README.md"
WORDS = "".join(f" w{n}" for n in range(10))
CALL = {"name": "look", "arguments": {"at": "sky"}, "id": "c1"}
CUT = {
    "rounds": [{"deltas": ["half"], "finish_reason": "length"}, {"deltas": [" more"], "fail": {"after": 1}}]
}


@pytest.fixture
def mirror(clients: Clients) -> Chat:
    return Chat(base_url="http://127.0.0.1:9/v1/", api_key=KEY, model="m", clients=clients)


def asked(result: ChatResult) -> dict[str, Any]:
    """What the provider was asked."""
    found: dict[str, Any] = json.loads(result.text)
    return found


def said(result: ChatResult) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in asked(result)["messages"]]


class TestOneQuestion:
    def test_a_single_question(self, chat: Chat) -> None:
        result = chat("What is the weather?")
        assert result.text == "What is the weather?"
        assert (result.finish_reason, result.usage.total_tokens, result.tool_calls) == ("stop", 8, [])
        assert (result.reasoning, result.raw) == (None, None)

    async def test_with_await(self, aclients: Clients) -> None:
        chat = Chat(model="scripted/echo", clients=aclients)
        assert (await chat.acall("Hello")).text == "Hello"

    @pytest.mark.parametrize("messages", ["one", ["one"], [{"role": "user", "content": "one"}]])
    def test_messages_are_a_string_a_list_of_strings_or_of_dicts(self, mirror: Chat, messages: Any) -> None:
        assert said(mirror(messages)) == [("user", "one")]

    def test_every_parameter_reaches_the_provider(self, mirror: Chat) -> None:
        params = {
            "temperature": 0.1,
            "top_p": 0.5,
            "max_tokens": 9,
            "stop": ["."],
            "presence_penalty": 1.0,
            "frequency_penalty": -1.0,
            "logit_bias": {"7": 1.0},
            "user": "u",
            "n": 2,
            "extra": {"top_a": 1},
        }
        tools = {"tools": [{"name": "look"}], "tool_choice": "auto", "parallel_tool_calls": False}
        more = {"system": "Be brief.", "reasoning": {"effort": "high"}, "return_raw": True}
        result = mirror("x", model="other", **tools, **more, **params)  # type: ignore[arg-type]
        found = asked(result)
        assert found["params"] == params | {"return_raw": True}
        assert (found["model"], found["tools"], found["reasoning"]["effort"]) == ("other", ["look"], "high")
        assert said(result) == [("system", "Be brief."), ("user", "x")]

    def test_a_keyword_wins_over_params_and_the_temperature_has_a_default(self, mirror: Chat) -> None:
        params = ChatParams(temperature=0.2, top_p=0.3)
        assert asked(mirror("x", params=params, top_p=0.4))["params"] == {"temperature": 0.2, "top_p": 0.4}
        assert asked(mirror("x"))["params"] == {"temperature": 0.7}
        for reasoning in ({"reasoning": True}, {"params": {"reasoning": {"effort": "low"}}}):
            assert "temperature" not in asked(mirror("x", **reasoning))["params"]

    def test_what_is_wrong_is_refused_before_anything_is_stored(self, chat: Chat, clients: Clients) -> None:
        before = _jobs(clients)
        wrong: list[dict[str, Any]] = [
            {"temperature": 5.0},
            {"params": {"temperature": 5.0}},
            {"model": " "},
            {"model": "nobody/m"},
            {"history": 7},
        ]
        for options in wrong:
            with pytest.raises(ValidationError):
                chat("x", **options)
        with pytest.raises(ValidationError):
            chat("")
        with pytest.raises(TypeError, match="'temprature'"):
            chat("x", temprature=1)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="'n'"):
            chat.stream("x", n=2)  # type: ignore[call-arg]
        assert _jobs(clients) == before

    def test_the_job_s_own_error_is_raised(self, clients: Clients) -> None:
        with pytest.raises(AuthenticationError):
            Chat(model="scripted/status-401", clients=clients)("x")


def _jobs(clients: Clients) -> int:
    with redis.Redis.from_url(clients.settings.redis_url) as client:
        return len(client.keys("palaver:job:*"))


class TestTheProvider:
    def test_an_address_in_code_is_that_of_a_configured_profile(self, mirror: Chat) -> None:
        assert asked(mirror("x"))["model"] == "m"

    def test_timeouts(self, clients: Clients) -> None:
        def timeouts(**given: float) -> tuple[float, float, float]:
            chat = Chat(model="mirror/m", clients=clients, **given)  # type: ignore[arg-type]
            found = asked(chat("x"))["timeouts"]
            return chat.timeout_s, found["connect"], found["read"]

        assert Chat(clients=clients).timeout_s == 60
        assert timeouts(timeout_s=5) == (5, 5, 5)
        assert timeouts(timeout_s=5, read_timeout_s=7) == (7, 5, 7)
        assert timeouts(timeout_s=5, connect_timeout_s=2) == (5, 2, 5)

    @pytest.mark.parametrize(
        "given",
        [
            {"base_url": "http://other/v1"},
            {"base_url": "http://127.0.0.1:9/v1", "api_key": "sk-other"},
            {"base_url": "http://127.0.0.1:9/v1", "headers": {"X-Team": "a"}},
            {"base_url": "http://127.0.0.1:9/v1", "rate_limit": (10, 1)},
        ],
    )
    def test_another_one_is_refused_at_once_and_its_key_is_not_told(
        self, clients: Clients, given: dict[str, Any]
    ) -> None:
        with pytest.raises(ConfigurationError, match="no profile") as caught:
            Chat(model="m", clients=clients, **given)
        assert "sk-" not in str(caught.value)

    def test_a_model_is_needed_beside_an_address(self, clients: Clients) -> None:
        chat = Chat(base_url="http://127.0.0.1:9/v1", clients=clients)
        with pytest.raises(ValidationError, match="model"):
            chat("x")


def test_the_page_s_example_answers(system: Settings, processes: Processes) -> None:
    env = {"PALAVER_REDIS_URL": system.redis_url, "PYTHONWARNINGS": "error"}
    running = processes.start((sys.executable, "-c", program(PAGE, "Chat(")), env=env)
    assert running.wait() == 0
    running.drained()
    assert running.lines == ["Say it again", "and piece by piece"]


def test_the_first_page_s_example_answers(system: Settings, processes: Processes) -> None:
    shown = program(ROOT / "README.md", "ChatHistory")
    words = (sys.executable, "-c", f"{shown}\nprint(len(history))")
    running = processes.start(words, env={"PALAVER_REDIS_URL": system.redis_url})
    assert running.wait() == 0
    running.drained()
    assert running.lines == ["And of cake", "2"]


class TestHistory:
    def test_a_second_turn(self, mirror: Chat) -> None:
        history = ChatHistory(system="Be kind.")
        history.add_user("One?")
        history.add_assistant("Two.")
        before = history.to_json()
        for given in (history, history.get_messages()):
            assert said(mirror("Three?", history=given)) == [
                ("system", "Be kind."),
                ("user", "One?"),
                ("assistant", "Two."),
                ("user", "Three?"),
            ]
        assert said(mirror("x", history=history, system="Be rude."))[0] == ("system", "Be rude.")
        assert history.to_json() == before

    def test_nothing_is_kept_between_calls(self, mirror: Chat) -> None:
        mirror("My name is Ada.")
        assert said(mirror("Who am I?")) == [("user", "Who am I?")]

    @pytest.mark.parametrize("message", [None, "And three?"])
    def test_chat_with_history(self, mirror: Chat, message: str | None) -> None:
        history = ChatHistory(system="Count.")
        history.add_user("One?")
        history.add_assistant("Two.")
        if message is None:
            history.add_user("And three?")
        result = mirror.chat_with_history(history, message, temperature=0.7)
        assert said(result) == [
            ("system", "Count."),
            ("user", "One?"),
            ("assistant", "Two."),
            ("user", "And three?"),
        ]
        streamed = mirror.stream_with_history(history, message, temperature=0.7)
        assert "".join(chunk.delta for chunk in streamed) == result.text
        assert said(mirror.chat_with_history(history, message, system="Sing."))[0] == ("system", "Sing.")

    def test_a_history_in_which_no_user_speaks(self, chat: Chat) -> None:
        with pytest.raises(ValueError, match="History has no user messages"):
            chat.chat_with_history(ChatHistory(system="x"))

    async def test_fifty_conversations_at_once_do_not_meet(self, aclients: Clients) -> None:
        chat = Chat(model="mirror/m", clients=aclients)
        histories = [
            ChatHistory.from_messages([{"role": "user", "content": f"I am {n}."}]) for n in range(50)
        ]
        results = await asyncio.gather(*(chat.acall("Who?", history=history) for history in histories))
        assert [said(result)[0] for result in results] == [("user", f"I am {n}.") for n in range(50)]
        assert {len(said(result)) for result in results} == {2}


class TestStreams:
    def test_pieces_and_the_result_at_any_moment(self, clients: Clients) -> None:
        iterator = Chat(model="slow/numbers", clients=clients).stream("x")
        assert (iterator.result.text, iterator.result.done) == ("", False)
        text = ""
        for chunk in iterator:
            assert isinstance(chunk, ChatStreamChunk)
            text += chunk.delta
            assert (iterator.result.text, iterator.result.done) == (text, chunk.done)
            if not chunk.done:
                assert (iterator.result.finish_reason, iterator.result.usage) == (None, None)
        assert text == "".join(f" w{n}" for n in range(20))
        assert (chunk.finish_reason, chunk.usage) == ("stop", iterator.result.usage)
        assert next(iterator, None) is None

    async def test_with_await(self, aclients: Clients) -> None:
        iterator = await Chat(model="scripted/numbers", clients=aclients).astream("x", temperature=0)
        deltas = [chunk.delta async for chunk in iterator]
        assert "".join(deltas) == iterator.result.text == "".join(f" w{n}" for n in range(20))

    def test_the_result_is_the_one_without_streaming(self, chat: Chat) -> None:
        prompt = script(reasoning="Well.", text="Let me see.", tool_calls=[CALL])
        whole = chat(prompt)
        iterator = chat.stream(prompt)
        chunks = list(iterator)
        assert iterator.result.to_chat_result() == whole
        assert [call.id for call in chunks[-1].tool_calls] == [call.id for call in whole.tool_calls] == ["c1"]
        assert (whole.reasoning, iterator.result.reasoning) == ("Well.", "Well.")
        assert all(chunk.reasoning is None for chunk in chunks)
        thoughts = chat.stream(prompt, include_reasoning=True)
        assert "".join(chunk.reasoning or "" for chunk in thoughts) == "Well."

    def test_a_failure_comes_after_the_text(self, clients: Clients) -> None:
        iterator = Chat(model="scripted/error", clients=clients).stream(script(n=5))
        chunks: list[ChatStreamChunk] = []
        with pytest.raises(PalaverError):
            chunks.extend(iterator)
        assert "".join(chunk.delta for chunk in chunks) == iterator.result.text == " w0 w1 w2"

    def test_what_was_asked_for_is_sent(self, mirror: Chat) -> None:
        iterator = mirror.stream("x", include_usage=False, return_raw_events=True)
        list(iterator)
        params = asked(iterator.result.to_chat_result())["params"]
        assert (params["include_usage"], params["return_raw_events"]) == (False, True)


class TestLongAnswers:
    def test_json_that_did_not_fit(self, chat: Chat) -> None:
        document = {"numbers": list(range(20))}
        words = json.dumps(document).replace(", ", ",\n")
        result = chat.complete(script(text=words), max_tokens=7, max_continues=9)
        assert json.loads(result.text) == document

    def test_the_same_streamed_and_not_and_awaited(self, chat: Chat) -> None:
        iterator = chat.complete_stream(script(n=10), max_tokens=4)
        assert "".join(chunk.delta for chunk in iterator) == WORDS
        result = iterator.result.to_chat_result()
        assert (result.text, result.finish_reason, result.usage.output_tokens) == (WORDS, "stop", 10)
        assert chat.complete(script(n=10), max_tokens=4) == result

    async def test_with_await(self, aclients: Clients) -> None:
        chat = Chat(model="scripted/echo", clients=aclients)
        assert (await chat.acomplete(script(n=10), max_tokens=4)).text == WORDS
        iterator = await chat.acomplete_stream(script(n=10), max_tokens=4)
        assert "".join([chunk.delta async for chunk in iterator]) == WORDS
        assert iterator.result.to_chat_result().finish_reason == "stop"

    def test_twice_with_one_history(self, chat: Chat) -> None:
        history = ChatHistory()
        history.add_user("Before.")
        before = history.to_json()
        for _ in range(2):
            assert chat.complete(script(n=10), history=history, max_tokens=4).text == WORDS
        assert history.to_json() == before

    def test_progress(self, chat: Chat) -> None:
        seen: list[tuple[int, int, str, int]] = []

        def on_progress(count: int, max_count: int, current: ChatResult, results: list[ChatResult]) -> None:
            seen.append((count, max_count, current.text, len(results)))
            raise RuntimeError("what a caller's function does is no matter of the answer")

        result = chat.complete(script(n=10), max_tokens=4, on_progress=on_progress)
        assert result.text == WORDS
        assert seen == [(1, 5, " w0 w1 w2 w3", 1), (2, 5, " w4 w5 w6 w7", 2)]

    def test_still_truncated(self, chat: Chat) -> None:
        with pytest.raises(ChatIncompleteResponseError) as caught:
            chat.complete(script(n=10), max_tokens=2, max_continues=1)
        error = caught.value
        assert (error.continue_count, error.max_continues) == (1, 1)
        assert error.final_result.text == " w0 w1 w2 w3"
        result = chat.complete(script(n=10), max_tokens=2, max_continues=1, ensure_complete=False)
        assert (result.text, result.finish_reason) == (" w0 w1 w2 w3", "length")
        assert (
            chat.complete(script(n=2), max_tokens=2, max_continues=0, ensure_complete=False).text == " w0 w1"
        )

    @pytest.mark.parametrize("stream", [False, True])
    def test_an_error_may_be_a_partial_answer(self, chat: Chat, stream: bool) -> None:
        prompt = script(**CUT)
        with pytest.raises(PalaverError):
            chat.complete(prompt)
        if stream:
            iterator = chat.complete_stream(prompt, on_error="return_partial")
            list(iterator)
            result = iterator.result.to_chat_result()
        else:
            result = chat.complete(prompt, on_error="return_partial", continue_delay=(0.0, 0.1))
        assert (result.text, result.finish_reason) == ("half more", "length")

    def test_prompts_of_registered_functions_and_of_no_others(self, clients: Clients) -> None:
        chat = Chat(model="scripted/echo", clients=clients)
        asked_once = {"max_tokens": 1, "max_continues": 1, "ensure_complete": False}
        said = chat.complete("Count.", continue_prompt=numbered, **asked_once).text  # type: ignore[arg-type]
        assert said == "Count.1/1"
        with pytest.raises(ValidationError, match="register"):
            chat.complete("x", continue_prompt=lambda *_: "go on")
        for wrong in ({"max_continues": -1}, {"on_error": "ignore"}):
            with pytest.raises(ValidationError):
                chat.complete("x", **wrong)


class TestTheCallersWordOnErrors:
    def test_it_is_told_what_there_is(self, chat: Chat) -> None:
        told: list[tuple[PalaverError, ChatResult]] = []

        def on_error(error: PalaverError, partial: ChatResult) -> dict[str, Any]:
            told.append((error, partial))
            return {"action": "return_partial"}

        result = chat.complete(script(**CUT), on_error_callback=on_error)
        ((error, partial),) = told
        assert partial == result
        assert (result.text, result.finish_reason) == ("half more", "length")
        assert isinstance(error, PalaverError)

    def test_its_own_result(self, chat: Chat) -> None:
        own = ChatResult(text="Sorry.")
        answered = chat.complete(
            script(**CUT),
            on_error_callback=lambda _error, _partial: {"action": "return_partial", "result": own},
        )
        assert answered.text == "Sorry."

    def test_raise(self, chat: Chat) -> None:
        with pytest.raises(PalaverError) as caught:
            chat.complete(script(**CUT), on_error_callback=lambda _e, _p: {"action": "raise"})
        assert caught.value.response.content == "half more"

    def test_retry_goes_on_behind_the_text(self, chat: Chat) -> None:
        rounds = [
            {"deltas": ["a"], "finish_reason": "length"},
            {"deltas": ["b"], "fail": {"after": 1, "times": 2}},
        ]
        tries: list[str] = []

        def on_error(error: PalaverError, partial: ChatResult) -> dict[str, Any]:
            tries.append(partial.text)
            return {"action": "retry"}

        iterator = chat.complete_stream(script(rounds=rounds), on_error_callback=on_error)
        chunks = list(iterator)
        assert tries == ["ab", "abb"]
        assert [chunk.done for chunk in chunks].count(True) == 1
        assert "".join(chunk.delta for chunk in chunks) == iterator.result.text
        result = iterator.result.to_chat_result()
        assert (result.text, result.finish_reason) == ("abbb", "stop")

    def test_another_word_is_wrong(self, chat: Chat) -> None:
        with pytest.raises(ValidationError, match="on_error_callback"):
            chat.complete(script(**CUT), on_error_callback=lambda _e, _p: {"action": "ignore"})

    def test_a_first_request_that_fails_is_raised(self, clients: Clients) -> None:
        chat = Chat(model="scripted/status-401", clients=clients)
        with pytest.raises(AuthenticationError):
            chat.complete("x", on_error_callback=lambda _e, _p: {"action": "return_partial"})
