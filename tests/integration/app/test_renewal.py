"""palaver.toml and the files of keys change while a worker runs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from palaver.producer import Client
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import Status
from palaver.shared.settings import Settings
from tests.model_server import ModelServer, start_model_server
from tests.processes import Processes, Running
from tests.servers import eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]


@pytest.fixture
def config(tmp_path: Path, palaver_env: dict[str, str]) -> Path:
    path = tmp_path / "palaver.toml"
    palaver_env["PALAVER_CONFIG"] = str(path)
    return path


@pytest.fixture
def model_server(processes: Processes) -> ModelServer:
    return start_model_server(processes)


@pytest.fixture
def client(palaver_env: dict[str, str]) -> Iterator[Client]:
    """It knows of profiles what workers announce."""
    with Client(Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])) as client:
        yield client


def openai(name: str, server: ModelServer, **more: object) -> str:
    fields = {"kind": "openai", "base_url": server.openai_url, **more}
    return "\n".join(
        [f"[providers.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in fields.items()), ""]
    )


def rewrite(path: Path, text: str) -> None:
    """Put another file in its place: of one that is written nobody knows when it is whole."""
    another = path.with_suffix(".new")
    another.write_text(text)
    another.replace(path)


def sent_key(server: ModelServer) -> str:
    headers: dict[str, str] = server.last()["headers"]
    return headers["authorization"]


def refused(client: Client, model: str) -> bool:
    """Whether no worker announces this model, as a client sees it that has not asked before."""
    with Client(client.settings) as stranger:
        try:
            stranger.submit("hello", model=model).cancel()
        except ValidationError:
            return True
    return False


def ask(client: Client, model: str, message: str = "hello") -> str:
    return client.submit(message, model=model).result(timeout=30).content


def test_a_new_key_in_its_file(
    config: Path, tmp_path: Path, worker: Callable[..., Running], client: Client, model_server: ModelServer
) -> None:
    key = tmp_path / "key"
    key.write_text("sk-old\n")
    config.write_text(openai("m", model_server, api_key_file=str(key)))
    running = worker()
    assert ask(client, "m/x")
    assert sent_key(model_server) == "Bearer sk-old"
    rewrite(key, "sk-newer\n")
    running.wait_for("catalog.renewed")
    assert ask(client, "m/x")
    assert sent_key(model_server) == "Bearer sk-newer"
    assert "sk-" not in running.output


def test_profiles_come_and_go_and_what_runs_goes_on(
    config: Path, worker: Callable[..., Running], client: Client, model_server: ModelServer
) -> None:
    config.write_text(openai("old", model_server) + '[models]\ndefault = "old/x"\n')
    # what a worker has announced is forgotten one and a half leases later
    running = worker(env={"PALAVER_LEASE_SECONDS": "4", "PALAVER_RENEW_SECONDS": "0.6"})
    slow = client.submit(json.dumps({"n": 80, "rate": 20}), model="old/x")
    assert eventually(lambda: slow.status == Status.RUNNING)
    rewrite(config, openai("new", model_server) + '[models]\ndefault = "new/x"\n')
    running.wait_for("catalog.renewed")
    assert eventually(lambda: not refused(client, "new/x"))  # it is announced a moment later
    assert ask(client, "new/x") == ask(client, "default")
    assert slow.result(timeout=30).content == "".join(f" w{number}" for number in range(80))
    assert eventually(lambda: refused(client, "old/x"))


BROKEN = {  # a file, and what is told of it
    "[providers.": "not valid TOML",
    "[providers.m]\nkind = 3\n": "must be a string",
    '[providers.m]\nkind = "nope"\n': "nope",
}


def test_a_broken_file_changes_nothing(
    config: Path, worker: Callable[..., Running], client: Client, model_server: ModelServer
) -> None:
    config.write_text(openai("m", model_server))
    running = worker()
    for broken, reason in BROKEN.items():
        rewrite(config, broken)
        running.wait_for(f"catalog.refused reason=.*{reason}")
        assert ask(client, "m/x")
    rewrite(config, openai("m", model_server, models=["x", "y"]))
    running.wait_for("catalog.renewed")
    assert eventually(lambda: not refused(client, "m/y"))
    assert ask(client, "m/y")
