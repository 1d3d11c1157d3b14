"""A provider named in code, which no `palaver.toml` has: it is sealed, and a real worker opens it."""

import uuid
from collections.abc import Iterator

import pytest
import redis

from palaver.producer import Client
from palaver.producer.interfaces import AIMLClient, Chat, ChatObject, Clients
from palaver.shared import MemoryModel, ModelPreset
from palaver.shared.errors import AuthenticationError, ConfigurationError, ValidationError
from palaver.shared.settings import Settings
from tests.integration.interfaces.conftest import SECRET
from tests.model_server import ModelServer, start_model_server
from tests.processes import Processes

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("interfaces")]


@pytest.fixture(scope="module")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with Processes(tmp_path_factory.mktemp("model-server")) as processes:
        yield start_model_server(processes)


@pytest.fixture
def sealing(system: Settings) -> Settings:
    return with_secret(system, SECRET)


def with_secret(settings: Settings, secret: str) -> Settings:
    return Settings(redis_url=settings.redis_url, config=settings.config, secret=secret)


def table(server: ModelServer, key: str) -> dict[str, str]:
    return {"kind": "openai", "base_url": server.openai_url, "api_key": key}


def test_a_chat_with_an_address_of_its_own(sealing: Settings, model_server: ModelServer) -> None:
    key = f"sk-{uuid.uuid4().hex}"
    with Clients(sealing) as clients:
        own = {"base_url": model_server.openai_url, "api_key": key, "headers": {"X-Team": "blue"}}
        result = Chat(**own, model="m", clients=clients)("Hello")  # type: ignore[arg-type]

    assert result.text.startswith(" w0 w1")
    asked = model_server.last()["headers"]
    assert (asked["authorization"], asked["x-team"]) == (f"Bearer {key}", "blue")
    assert no_trace_of(key, sealing)


async def test_an_aiml_client_with_an_address_of_its_own(
    sealing: Settings, model_server: ModelServer
) -> None:
    key = f"sk-{uuid.uuid4().hex}"
    async with (
        Clients(sealing) as clients,
        AIMLClient(api_key=key, base_url=model_server.openai_url, clients=clients) as client,
    ):
        health = await client.health_check()  # before any job has stored the profile
        assert health.success, health.error
        assert (await client.chat("Hello")).content.startswith(" w0 w1")
    assert model_server.last()["headers"]["authorization"] == f"Bearer {key}"
    assert no_trace_of(key, sealing)


def test_a_sealed_provider_is_probed_before_any_job(sealing: Settings, model_server: ModelServer) -> None:
    with Client(sealing) as client:
        name = client.seal(table(model_server, f"sk-{uuid.uuid4().hex}"))
        health = client.probe(name, "m")
        assert health.ok, health.error


async def test_a_preset_with_an_address_of_its_own(sealing: Settings, model_server: ModelServer) -> None:
    preset = ModelPreset(model="m", base_url=model_server.openai_url, api_key="sk-preset")
    async with Clients(sealing) as clients:
        turn = ChatObject(
            context=MemoryModel(),
            session_id=f"sealed-{uuid.uuid4().hex}",
            user_input="Hello",
            train={"role": "system", "content": "Be brief."},
            preset=preset,
            clients=clients,
        )
        async with turn.begin():
            assert (await turn.full_response()).startswith(" w0 w1")


def test_it_is_one_of_a_fallback_list_and_a_retry_finds_it(
    sealing: Settings, model_server: ModelServer
) -> None:
    with Client(sealing) as client:
        name = client.seal(table(model_server, "k"))
        handle = client.submit("Hi", model=["nowhere/llama", f"{name}/m"], max_retries=1)
        assert handle.result(timeout=30).provider == name
    with Client(sealing) as other:  # it has the name alone
        assert other.retry(handle.job_id).result(timeout=30).content.startswith(" w0")


def test_a_name_that_nobody_has_is_refused_before_anything_is_stored(sealing: Settings) -> None:
    job = str(uuid.uuid4())
    with Client(sealing) as client, pytest.raises(ValidationError, match="seal it again") as caught:
        client.submit("Hi", model="sealed-" + "0" * 32 + "/m", session_id=job)
    assert caught.value.param == "model"
    with redis.Redis.from_url(sealing.redis_url) as server:
        assert not server.keys(f"*{job}*")


def test_one_that_was_sealed_with_another_secret_ends_its_job(
    sealing: Settings, model_server: ModelServer
) -> None:
    with Client(with_secret(sealing, "x" * 32)) as client:
        handle = client.submit("Hi", model=f"{client.seal(table(model_server, 'k'))}/m")
        with pytest.raises(ConfigurationError, match="PALAVER_SECRET"):
            handle.result(timeout=30)


def test_a_key_that_the_provider_refuses_is_told_to_nobody(
    sealing: Settings, model_server: ModelServer
) -> None:
    key = f"sk-{uuid.uuid4().hex}"
    refusal = '{"fail": {"status": 401}}'
    with Clients(sealing) as clients, pytest.raises(AuthenticationError) as caught:
        Chat(base_url=model_server.openai_url, api_key=key, model="m", clients=clients)(refusal)
    assert key not in str(caught.value)
    assert no_trace_of(key, sealing)


def no_trace_of(key: str, settings: Settings) -> bool:
    """Whether no value in Redis holds it."""
    with redis.Redis.from_url(settings.redis_url) as server:
        reads = {
            b"string": server.get,
            b"hash": server.hgetall,
            b"list": lambda name: server.lrange(name, 0, -1),
            b"set": server.smembers,
            b"zset": lambda name: server.zrange(name, 0, -1),
            b"stream": server.xrange,
            b"none": lambda name: name,  # it has gone meanwhile
        }
        return not any(key in str(reads[server.type(name)](name)) for name in server.scan_iter("*"))
