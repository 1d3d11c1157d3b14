"""What users' tests lean on: a system in this process, its models, and the fixture."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from palaver.producer import AsyncClient, Client
from palaver.producer.interfaces import AIMLClient, Chat, ChatManager
from palaver.shared.errors import (
    AuthenticationError,
    BrokerUnavailableError,
    ConfigurationError,
    ModelNotFoundError,
    StreamInterruptedError,
    ValidationError,
    WaitTimeoutError,
)
from palaver.workers.testing import LocalSystem
from tests.pages import program
from tests.processes import ROOT, Processes

pytest_plugins = ["palaver.workers.testing.fixtures"]

PAGE = ROOT / "workers" / "palaver" / "workers" / "testing" / "README.md"


AGENTS = """
from palaver.workers.agents import ask_model, path


async def waiter(message, session_context, **kwargs):
    said = await ask_model(message, stream=False)
    return f"You ordered: {said.content}"


chat_urlpatterns = [path("waiter", waiter)]
"""


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def system() -> Iterator[LocalSystem]:
    with LocalSystem() as system:
        yield system


@pytest.fixture
def client(system: LocalSystem) -> Iterator[Client]:
    with Client(system.settings) as client:
        yield client


async def test_chat_session(palaver_system: LocalSystem) -> None:
    """Document 001's unit test of a session, call by call."""
    manager = ChatManager()

    async with manager as chat:
        response = await chat.send_message("Test message")
        assert response is not None
        assert response.content


@pytest.mark.parametrize("answer", ["first", "second"])
async def test_each_test_has_a_system_of_its_own(palaver_system: LocalSystem, answer: str) -> None:
    palaver_system.models.reply(answer)
    async with ChatManager(session_id="s1") as chat:
        await chat.initialize_model("llama2")
        assert (await chat.send_message("Hello")).content == answer
    (request,) = palaver_system.models.requests
    assert [message.text for message in request.messages] == ["Hello"]


async def test_the_other_faces_find_it(palaver_system: LocalSystem) -> None:
    assert Chat(model="anthropic/claude")("Hello").text == "Hello"
    assert (await AIMLClient().chat("Hello")).content == "Hello"
    with_key = Chat(base_url="https://api.example.com/v1", api_key="sk-any", model="m")
    palaver_system.models.reply("sealed")
    assert with_key("Hello").text == "sealed"


async def test_on_an_event_loop(system: LocalSystem) -> None:
    async with AsyncClient(system.settings) as client:
        system.models.reply("one two three", reasoning="Hm.")
        handle = await client.submit("Hello", session_id="s1")
        chunks = [chunk async for chunk in handle]
        assert "".join(chunk.delta for chunk in chunks if chunk.kind == "text") == "one two three"
        assert [chunk.delta for chunk in chunks if chunk.kind == "reasoning"] == ["Hm."]


class TestModels:
    def test_replies_are_taken_in_turn(self, system: LocalSystem, client: Client) -> None:
        system.models.reply("one")
        system.models.reply("")
        system.models.reply(deltas=["th", "ree"], finish_reason="length", usage={"prompt_tokens": 7})
        answers = [client.submit("Hello", model="openai/gpt", wait=True) for _ in range(4)]
        assert [answer.content for answer in answers] == ["one", "", "three", "Hello"]
        assert answers[2].finish_reason == "length"
        assert answers[2].usage is not None
        assert answers[2].usage.input_tokens == 7
        assert len(system.models.requests) == 4

    def test_a_prompt_is_no_script(self, client: Client) -> None:
        text = '{"text": "not this"}'
        assert client.submit(text, model="openai/gpt", wait=True).content == text

    def test_failures_are_those_of_a_provider(self, system: LocalSystem, client: Client) -> None:
        system.models.reply(fail={"status": 401})
        with pytest.raises(AuthenticationError):
            client.submit("Hello", wait=True)
        system.models.reply("one two three", fail={"kind": "cut", "after": 2})
        with pytest.raises(StreamInterruptedError) as caught:
            client.submit("Hello", wait=True, max_retries=0)
        assert caught.value.response.content == "one two"

    def test_each_request_of_a_job_takes_one(self, system: LocalSystem, client: Client) -> None:
        system.models.reply(fail={"status": 500})
        system.models.reply("at last")
        assert client.submit("Hello", wait=True).content == "at last"
        assert len(system.models.requests) == 2

    def test_tools_run(self) -> None:
        with (
            LocalSystem(tools="tests.integration.workers.user_tools") as system,
            Client(system.settings) as client,
        ):
            system.models.reply(tool_calls=[{"name": "add", "arguments": {"a": 2, "b": 3}}])
            system.models.reply("It is five.")
            answer = client.submit("2 + 3?", tools=[{"name": "add"}], wait=True)
            assert answer.content == "It is five."
            assert system.models.requests[-1].messages[-1].text == "5"

    def test_agents_answer_and_ask_them(self, tmp_path: Path) -> None:
        agents = tmp_path / "my_agents.py"
        agents.write_text(AGENTS)
        with LocalSystem(agents=str(agents)) as system, Client(system.settings) as client:
            system.models.reply("A cup of tea.")
            answer = client.submit("Tea?", agent="waiter", model="openai/gpt", wait=True)
            assert answer.content == "You ordered: A cup of tea."
            assert [request.messages[-1].text for request in system.models.requests] == ["Tea?"]

    def test_what_is_no_reply_is_refused(self, system: LocalSystem) -> None:
        with pytest.raises(ValidationError, match=r"reply\.txet"):
            system.models.reply(txet="one")
        with pytest.raises(ValidationError, match="deltas"):
            system.models.reply("one", deltas=["one"])


class TestSystem:
    def test_profiles_are_those_of_the_configuration(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "palaver.toml").write_text(
            '[providers.house]\nkind = "openai"\nbase_url = "https://models.example.com/v1"\n'
            'api_key_env = "KEY_OF_NOBODY"\nmodels = ["big", "small"]\n[models]\ndefault = "house/small"\n'
        )
        with LocalSystem() as system, Client(system.settings) as client:
            assert client.submit("Hello", wait=True).model == "small"
            assert client.probe("house", "big").ok
            health = client.probe("house", "huge")
            assert health.error is not None
            assert isinstance(health.error.exception(), ModelNotFoundError)
            with pytest.raises(ValidationError, match="huge"):
                client.submit("Hello", model="house/huge")

    def test_nothing_else_of_it_is_reached(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "palaver.toml").write_text("[mcp.shop]\nwrong = 1\n[pusher]\nwrong = 1\n")
        monkeypatch.setenv("PALAVER_ARCHIVE_URL", "postgresql://127.0.0.1:9/production")
        monkeypatch.setenv("PALAVER_SINKS", "nowhere:Sink")
        with LocalSystem() as system, Client(system.settings) as client:
            assert client.submit("Hello", wait=True).content == "Hello"
            assert system.environment["PALAVER_ARCHIVE_URL"] == ""
        files = tmp_path.as_uri()
        with LocalSystem(files_url=files) as system:
            assert system.environment["PALAVER_FILES_URL"] == files

    def test_a_busy_process_is_no_outage(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PALAVER_CONNECT_SECONDS", "0.02")
        over = threading.Event()

        def work() -> None:
            while not over.is_set():
                sum(range(3_000_000))  # in one piece: no other thread has a turn

        with LocalSystem() as system, ThreadPoolExecutor() as pool:
            for name, value in system.environment.items():
                monkeypatch.setenv(name, value)
            pool.submit(work)
            try:
                with Client() as client:
                    assert client.submit("Hello", wait=True).content == "Hello"
            finally:
                over.set()

    def test_jobs_that_nobody_waits_for(self, system: LocalSystem, client: Client) -> None:
        for number in range(5):
            client.submit(f"{number}", session_id="s1")
        system.join()
        assert [request.messages[-1].text for request in system.models.requests] == list("01234")

    def test_a_job_that_does_not_end(self, system: LocalSystem, client: Client) -> None:
        system.models.reply(endless=True, rate=50)
        handle = client.submit("Hello", session_id="s1")
        after = client.submit("And then?", session_id="s1")
        with pytest.raises(WaitTimeoutError, match="jobs are left"):
            system.join(timeout=0.1)
        handle.cancel()
        assert after.result(timeout=10).content == "And then?"  # it got the turn
        system.join()

    def test_systems_do_not_meet(self) -> None:
        with LocalSystem() as one, LocalSystem() as other:
            with Client(one.settings) as client, Client(other.settings) as stranger:
                client.submit("Hello", session_id="s1", wait=True)
                assert stranger.ledger.seq("s1") == 0
            assert (len(one.models.requests), len(other.models.requests)) == (1, 0)

    def test_its_end_is_told(self) -> None:
        with LocalSystem() as system:
            system.models.reply(endless=True, rate=50)
            client = Client(system.settings)
            handle = client.submit("Hello")
            next(iter(handle))
        with pytest.raises(BrokerUnavailableError, match="inprocess://"):
            client.submit("Hello")
        with pytest.raises(ConfigurationError, match="does not run"):
            system.join()
        client.close()


def test_the_page_s_example_holds(tmp_path: Path, processes: Processes) -> None:
    shown = tmp_path / "test_shop.py"
    shown.write_text(program(PAGE, "palaver_system"))
    words = ("-m", "pytest", "-q", "-p", "no:asyncio", "-p", "no:xdist", "-c", "/dev/null", "-W", "error")
    running = processes.python(*words, shown)
    assert running.wait() == 0, running.tail()
    running.wait_for("2 passed")
