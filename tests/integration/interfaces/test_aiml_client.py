"""`AIMLClient` over a real worker and a server that speaks its dialect: the calls of document 002."""

from collections.abc import Callable
from typing import Any

import pytest

from palaver.producer.interfaces import AIMLClient, Clients
from palaver.shared import ChatClient, ChatResponse
from palaver.shared.errors import ChatClientError, ConfigurationError, ValidationError
from palaver.shared.settings import Settings
from tests.integration.interfaces.conftest import AIML_KEY, script

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]

TWENTY = "".join(f" w{n}" for n in range(20))
Asked = Callable[[], dict[str, Any]]


@pytest.fixture
def client(aclients: Clients) -> AIMLClient:
    return AIMLClient(api_key=AIML_KEY, clients=aclients)


class TestTheExamples:
    """The calls of the document, with its names and arguments."""

    async def test_a_simple_chat(self, client: AIMLClient, asked: Asked) -> None:
        response = await client.chat(
            prompt="What is the weather like?", system_prompt="You are a helpful assistant"
        )
        assert response.content == TWENTY
        assert not response.is_error
        assert response.error is None
        assert response.metadata["model"] == "gpt-3.5-turbo"
        assert response.metadata["usage"]["prompt_tokens"] == 3
        assert response.metadata["usage"]["completion_tokens"] == 20
        request = asked()
        assert request["model"] == "gpt-3.5-turbo"
        assert [message["role"] for message in request["messages"]] == ["system", "user"]

    async def test_a_stream(self, client: AIMLClient, asked: Asked) -> None:
        said = ""
        async for message in client.stream_chat(prompt="Tell me a story", temperature=0.8):
            said += message
        assert said == TWENTY == (await client.chat("Tell me a story")).content
        assert client.last_response is not None
        assert client.last_response.content == said
        assert asked().get("temperature") is None  # of the chat, which was given none

    async def test_an_analysis(self, client: AIMLClient, asked: Asked) -> None:
        text = "This is a {sample} text\n"
        response = await client.analyze_text(text=text, analysis_type="sentiment")
        assert response.content == TWENTY
        assert response.metadata["analysis_type"] == "sentiment"
        prompt = asked()["messages"][-1]["content"]
        assert text in prompt
        assert "sentiment" in prompt

    async def test_a_batch(self, client: AIMLClient) -> None:
        prompts = ["What is Python?", "What is JavaScript?", "What is Java?"]
        responses = await client.batch_process(prompts)
        assert [resp.content for resp in responses] == [TWENTY] * 3

    def test_a_response(self) -> None:
        response = ChatResponse(
            content="Response content",
            success=True,
            error=None,
            metadata={
                "model": "gpt-3.5-turbo",
                "usage": {"prompt_tokens": 10, "completion_tokens": 20},
            },
        )
        assert not response.is_error
        assert response.model == "gpt-3.5-turbo"
        assert response.metadata["usage"] == {
            "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
        }  # fmt: skip

    def test_an_extension_needs_all_methods(self) -> None:
        class NewAPIClient(ChatClient):
            async def chat(
                self, prompt: str, system_prompt: str | None = None, **kwargs: Any
            ) -> ChatResponse:
                return ChatResponse(content=prompt)

        with pytest.raises(TypeError, match="stream_chat"):
            NewAPIClient()  # type: ignore[abstract]
        assert issubclass(AIMLClient, ChatClient)


class TestRequests:
    async def test_keyword_arguments_reach_the_provider(self, client: AIMLClient, asked: Asked) -> None:
        response = await client.generate_text(
            "Write", model="openai/gpt-4o", temperature=0.8, max_tokens=5, seed=7, my_switch=True
        )
        assert response.success
        request = asked()
        assert request["model"] == response.model == "openai/gpt-4o"
        assert (request["temperature"], request["max_tokens"], request["seed"]) == (0.8, 5, 7)
        assert request["my_switch"] is True

    async def test_the_model_of_the_client(self, aclients: Clients, asked: Asked) -> None:
        async with AIMLClient(model="m", clients=aclients) as client:  # the key is the profile's
            assert (await client.chat("Hello")).model == "m"
        assert asked()["model"] == "m"

    async def test_a_batch_keeps_the_order_and_each_its_own_error(self, many: Clients) -> None:
        client = AIMLClient(clients=many)
        prompts = [script(n=1), script(fail={"status": 401}), "", script(n=2)]
        responses = await client.batch_process(prompts, batch_size=2)
        assert [response.content for response in responses] == [" w0", "", "", " w0 w1"]
        assert [response.is_error for response in responses] == [False, True, True, False]
        assert await client.batch_process([]) == []

    async def test_health_costs_no_request(self, client: AIMLClient, asked: Asked) -> None:
        await client.chat(script(n=1))
        before = asked()
        response = await client.health_check()
        assert response.success
        assert response.metadata["ok"] is True
        assert response.metadata["latency_ms"] > 0
        assert asked() == before


class TestErrorsAreValues:
    @pytest.mark.parametrize(
        ("fail", "kind"),
        [
            ({"status": 401}, "AuthenticationError"),
            ({"status": 500}, "ServerError"),
            ({"kind": "garbage"}, "MalformedStreamError"),
            ({"kind": "error", "after": 2}, "ServerError"),
        ],
    )
    async def test_of_providers(self, client: AIMLClient, fail: dict[str, Any], kind: str) -> None:
        response = await client.chat(script(fail=fail), max_retries=0)
        assert response.is_error
        assert response.error
        assert response.error_info is not None
        assert response.error_info.type == kind
        assert {"model", "usage"} <= response.metadata.keys()

    async def test_of_input(self, client: AIMLClient) -> None:
        for response in (await client.chat("  "), await client.chat("x", temperature=9)):
            assert response.error_info is not None
            assert response.error_info.type == "ValidationError"
        empty = await client.analyze_text("", "sentiment")
        assert empty.is_error
        assert empty.metadata["analysis_type"] == "sentiment"
        with pytest.raises(ValidationError, match="batch_size"):
            await client.batch_process(["x"], batch_size=0)

    async def test_of_a_stream_come_after_its_text(self, client: AIMLClient) -> None:
        said = ""

        async def listen() -> None:
            nonlocal said
            cut = script(fail={"kind": "error", "after": 2})
            async for piece in client.stream_chat(cut, max_retries=0):
                said += piece

        with pytest.raises(ChatClientError) as caught:
            await listen()
        assert said == " w0 w1"
        assert client.last_response is not None
        assert client.last_response.is_error
        assert client.last_response.content == " w0 w1"
        assert caught.value.__cause__ is not None

    async def test_a_stream_that_begins_anew_says_nothing_twice(self, client: AIMLClient) -> None:
        cut = script(n=4, fail={"kind": "cut", "after": 2, "times": 1}, key="anew")
        assert "".join([piece async for piece in client.stream_chat(cut)]) == " w0 w1 w2 w3"

    async def test_of_a_queue_that_is_not_there(self) -> None:
        settings = Settings(redis_url="redis://127.0.0.1:9/0")
        async with Clients(settings) as nobody, AIMLClient(clients=nobody) as client:
            for response in (await client.chat("x"), await client.health_check()):
                assert response.error_info is not None
                assert response.error_info.type == "LedgerUnavailableError"
            assert response.metadata["ok"] is False
            assert response.metadata["latency_ms"] > 0

    async def test_of_a_configuration_without_it(self, redis_url: str, namespace: str) -> None:
        async with Clients(Settings(redis_url=redis_url, namespace=namespace)) as nobody:
            response = await AIMLClient(clients=nobody).chat("x")
            assert response.error_info is not None
            assert response.error_info.type == "ConfigurationError"

    def test_a_key_that_no_profile_has_is_refused_at_once(self, clients: Clients) -> None:
        with pytest.raises(ConfigurationError) as caught:
            AIMLClient(api_key="sk-unknown", clients=clients)
        assert "sk-unknown" not in str(caught.value)
