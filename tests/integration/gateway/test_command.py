"""`palaver keys` and `palaver gateway` as commands."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from palaver.producer.cli import main
from tests.http_clients import http_client
from tests.integration.gateway.conftest import Stand
from tests.servers import RedisServer, eventually

pytestmark = [pytest.mark.redis, pytest.mark.xdist_group("gateway")]

Run = Callable[..., tuple[int, list[Any], str]]


@pytest.fixture
def run(stand: Stand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command with --json: its exit code, what it printed, and what it complained of."""
    for name, value in stand.environment.items():
        monkeypatch.setenv(name, value)

    def command(*words: str) -> tuple[int, list[Any], str]:
        code = main([*words, "--json"])
        said = capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return command


def test_keys_are_made_listed_and_revoked(stand: Stand, run: Run) -> None:
    words = (
        "--name",
        "web",
        "--tenant",
        "acme",
        "--user",
        "ann",
        "-m",
        "slow/*",
        "-m",
        "default",
        "--tool",
        "look",
        "--rpm",
        "60",
    )
    code, (made,), _ = run("keys", "create", *words, "--days", "1")
    assert code == 0
    assert (made["tenant"], made["user"], made["models"]) == ("acme", "ann", ["slow/*", "default"])
    assert made["tools"] == ["look"]
    assert made["expires"] - made["created"] == 24 * 3600
    with stand.http(made["key"]) as http:
        assert http.get("/sessions").status_code == 200
    _, listed, _ = run("keys", "list")
    (known,) = [key for key in listed if key["id"] == made["id"]]
    assert {**known, "key": made["key"]} == made
    assert "digest" not in known
    assert run("keys", "revoke", made["id"])[:2] == (0, [{"id": made["id"], "revoked": True}])
    code, _, complaint = run("keys", "revoke", made["id"])
    assert code == 2
    assert made["id"] in complaint
    assert made["id"] not in [key["id"] for key in run("keys", "list")[1]]


def test_a_key_that_cannot_be_is_not_made(run: Run) -> None:
    before = run("keys", "list")[1]
    assert run("keys", "create", "--tenant", "a\nb")[0] == 2
    assert run("keys", "create", "--days", "0")[0] == 2  # nobody could use it
    assert run("keys", "list")[1] == before


def test_a_list_for_people(stand: Stand, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    stand.make_key(name="for \x1b[2Jpeople", tenant="acme")
    assert main(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    assert "TENANT" in shown
    assert "\x1b" not in shown


def test_a_port_that_somebody_has(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, _, complaint = run("gateway", "--port", port)
    assert code == 2
    assert port in complaint


def test_a_ledger_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALAVER_REDIS_URL", "redis://127.0.0.1:9/0")
    assert run("gateway", "--port", "0")[0] == 3
    assert run("keys", "list")[0] == 3


def test_a_broker_that_is_not_there_is_told_and_what_can_be_read_is_served(stand: Stand) -> None:
    broker = {"PALAVER_BROKER_URL": "amqp://user:hunter2@127.0.0.1:9//"}
    running, url = stand.start_gateway(env=broker)
    told = json.loads(running.wait_for(r'^{"ready".*')[0])
    assert "amqp://user:***@127.0.0.1:9// cannot be reached" in told["broker_error"]
    assert "jobs are refused" in running.output
    assert "hunter2" not in running.output
    with http_client(base_url=url, headers={"authorization": f"Bearer {stand.key}"}) as http:
        ready = http.get("/readyz")
        assert ready.status_code == 200
        assert ready.text == "ok\nbroker: broker_unavailable; what is there is served, new jobs are refused\n"
        assert http.get("/sessions").status_code == 200
    assert running.stop() == 0


def test_a_gateway_whose_ledger_can_be_asked_the_time_and_not_read_is_not_ready(
    stand: Stand, own_redis: Callable[..., RedisServer]
) -> None:
    server = own_redis()
    running, url = stand.start_gateway(env={"PALAVER_REDIS_URL": server.url, "PALAVER_BROKER_URL": ""})
    with http_client(base_url=url) as http, server.client() as raw:
        assert http.get("/readyz").text == "ok\n"
        raw.config_set("replica-serve-stale-data", "no")
        raw.replicaof("127.0.0.1", 9)  # as one that still reads its file
        assert raw.time()
        ready = http.get("/readyz")
        assert (ready.status_code, ready.text) == (503, "ledger: ledger_unavailable\n")
    assert running.stop() == 0


def test_a_ledger_that_takes_no_writes_is_told_and_what_can_be_read_is_served(
    stand: Stand, own_redis: Callable[..., RedisServer], tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    server = own_redis("--dir", str(disk), "--save", "3600 1000000")
    running, url = stand.start_gateway(env={"PALAVER_REDIS_URL": server.url, "PALAVER_BROKER_URL": ""})
    with http_client(base_url=url) as http, server.client() as raw:
        assert http.get("/readyz").text == "ok\n"
        disk.rmdir()
        raw.bgsave()
        assert eventually(lambda: "MISCONF" in refusal_of_a_ping(raw))
        ready = http.get("/readyz")
        assert ready.status_code == 200
        lines = ready.text.splitlines()
        assert lines[:2] == [
            "ok",
            "ledger: ledger_unavailable; what is there is served, new jobs are refused",
        ]
        assert http.get("/v1/models").status_code in (200, 401), "keys can be looked up"
    assert running.stop() == 0


def refusal_of_a_ping(raw: redis.Redis) -> str:
    try:
        raw.ping()
    except redis.RedisError as error:
        return str(error)
    return ""
