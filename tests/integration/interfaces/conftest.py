"""One Redis and one worker process for all tests of the faces: their jobs do not meet."""

import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from palaver.producer.interfaces import Chat, Clients
from palaver.shared.settings import Settings
from tests.model_server import start_model_server
from tests.processes import ROOT, WORKER, Processes
from tests.servers import IN_TIME, any_redis_binary, missing, start_redis

PALAVER_TOML = """
[providers.scripted]
kind = "scripted"
options = { rate = 0 }
[providers.slow]
kind = "scripted"
options = { rate = 50 }
[providers.mirror]
kind = "tests.integration.interfaces.doubles:Mirror"
base_url = "http://127.0.0.1:9/v1"
api_key_env = "MIRROR_KEY"
[providers.ollama]
kind = "ollama"
base_url = "{origin}"
[providers.aiml]
kind = "aiml"
base_url = "{origin}/v1"
api_key_env = "AIML_KEY"
[providers.failing]
kind = "tests.integration.workers.doubles:Answering"
options = { answers = ["one", { status = 401 }] }
[providers.unwell]
kind = "tests.integration.interfaces.doubles:Unwell"
[providers.nowhere]
kind = "ollama"
base_url = "http://127.0.0.1:9"
[models]
default = "scripted/echo"
"""

KEY = "sk-of-the-mirror"
SECRET = "of producers and workers, here and there"
AIML_KEY = "your_api_key"
KEYS = {"MIRROR_KEY": KEY, "AIML_KEY": AIML_KEY}


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The settings of a running system."""
    with running_system(tmp_path_factory.mktemp("faces")) as settings:
        yield settings


@contextmanager
def running_system(folder: Path, **variables: str) -> Iterator[Settings]:
    """A Redis and a worker with these variables; the settings of its clients."""
    binary = any_redis_binary()
    if binary is None:
        missing("no Redis server on this machine")
    config = folder / "palaver.toml"
    with Processes(folder) as processes:
        config.write_text(PALAVER_TOML.replace("{origin}", start_model_server(processes).origin))
        redis = start_redis(processes, binary)
        env = {"PALAVER_REDIS_URL": redis.url, "PALAVER_CONFIG": str(config), **KEYS}
        env |= {"PALAVER_SECRET": SECRET, "PALAVER_FILES_URL": f"file://{folder}/files"}
        more = {"PYTHONPATH": str(ROOT), "PALAVER_TOOLS": "tests.integration.workers.user_tools"}
        words = (*WORKER, "--without-mingle", "--concurrency", "100")
        processes.start(words, name="worker", env=env | more | variables).wait_for(r"\bready\b", seconds=60)
        yield Settings(
            redis_url=redis.url,
            config=str(config),
            files_url=env["PALAVER_FILES_URL"],
            connect_seconds=IN_TIME,
        )


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of the providers are in this process's environment too."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def clients(system: Settings, keys: None) -> Iterator[Clients]:
    """The clients of a program that has the same configuration as its workers."""
    with Clients(system) as clients:
        yield clients


@pytest.fixture
async def aclients(system: Settings, keys: None) -> AsyncIterator[Clients]:
    """The same for tests that await."""
    async with Clients(system) as clients:
        yield clients


@pytest.fixture(params=["batch", "jobs"])
async def many(request: pytest.FixtureRequest, system: Settings, keys: None) -> AsyncIterator[Clients]:
    """The same, with a store of files, where many requests are a batch, and without, where they are jobs."""
    settings = system if request.param == "batch" else system.model_copy(update={"files_url": ""})
    async with Clients(settings) as clients:
        yield clients


@pytest.fixture
def chat(clients: Clients) -> Chat:
    return Chat(model="scripted/echo", clients=clients)


@pytest.fixture
def asked(aclients: Clients) -> Callable[[], dict[str, Any]]:
    """The body of the last request that the providers over HTTP have got."""
    catalog = aclients.catalog
    assert catalog is not None
    origin = catalog.profiles["ollama"].base_url

    def body() -> dict[str, Any]:
        with urllib.request.urlopen(f"{origin}/_last", timeout=10) as response:  # noqa: S310
            found: dict[str, Any] = json.load(response)["body"]
        return found

    return body


def script(**fields: Any) -> str:
    """A prompt that tells the scripted provider what to do."""
    return json.dumps(fields)
