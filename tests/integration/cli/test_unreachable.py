"""Without its services every command gives up soon, and says in one line which address does not answer."""

import json
import subprocess
import sys

import pytest

from tests.integration.cli.shell import Dev, Inside, Shell
from tests.servers import IN_TIME, RedisServer

INSIDE = [
    ["chat", "hi"],
    ["tail", "s1"],
    ["job", "show", "0199"],
    ["job", "cancel", "0199"],
    ["job", "retry", "0199"],
    ["dead", "list"],
    ["dead", "retry", "0199"],
    ["dead", "drop", "--all"],
    ["usage"],
    ["status"],
    ["drain", "w1"],
    ["keys", "list"],
    ["provider", "resume", "scripted"],
    ["tenants", "announce", "--none"],
    ["batch", "status", "0199"],
    ["archive", "check"],
    ["gateway", "--port", "0"],
]
# These become other processes, or start them.
PROCESSES = [["worker"], ["dev", "--no-flower"]]


def check(done: subprocess.CompletedProcess[str], address: str) -> None:
    assert done.returncode == 3, done
    assert address in done.stderr
    assert "hunter2" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", INSIDE, ids=" ".join)
def test_a_refused_ledger(inside: Inside, words: list[str]) -> None:
    inside.environment["PALAVER_REDIS_URL"] = "redis://user:hunter2@127.0.0.1:1/0"
    check(inside.run(*words), "redis://user:***@127.0.0.1:1/0")


@pytest.mark.parametrize("words", PROCESSES, ids=" ".join)
def test_a_refused_ledger_of_a_process(shell: Shell, words: list[str]) -> None:
    shell.environment["PALAVER_REDIS_URL"] = "redis://user:hunter2@127.0.0.1:1/0"
    check(shell.run(*words, timeout=IN_TIME), "redis://user:***@127.0.0.1:1/0")


def test_a_gateway_asks_the_ledger_before_it_loads_its_server(shell: Shell) -> None:
    """Half a second of the three in which it is to be told."""
    shell.environment["PALAVER_REDIS_URL"] = "redis://127.0.0.1:1/0"
    command = "from palaver.producer.cli import main; main(['gateway'])"
    program = f"import sys; {command}; print('fastapi' in sys.modules)"
    with shell.start(command=(sys.executable, "-c", program)) as process:
        out, err = process.communicate(timeout=IN_TIME)
    assert "redis://127.0.0.1:1/0" in err
    assert out == "False\n"


@pytest.mark.timeout(IN_TIME)
@pytest.mark.parametrize("words", [["chat", "hi"], ["status"]], ids=" ".join)
@pytest.mark.usefixtures("default_patience")
def test_a_silent_ledger(inside: Inside, words: list[str], silent_port: int) -> None:
    inside.environment["PALAVER_REDIS_URL"] = f"redis://:hunter2@127.0.0.1:{silent_port}/0"
    check(inside.run(*words), f"127.0.0.1:{silent_port}")


def test_a_silent_ledger_of_a_process(shell: Shell, silent_port: int) -> None:
    shell.environment["PALAVER_REDIS_URL"] = f"redis://:hunter2@127.0.0.1:{silent_port}/0"
    check(shell.run("worker", timeout=IN_TIME), f"127.0.0.1:{silent_port}")


def test_refused_sentinels(shell: Shell) -> None:
    shell.environment["PALAVER_REDIS_URL"] = (
        "sentinel://:hunter2@127.0.0.1:1?master_name=m;sentinel://127.0.0.1:2"
    )
    done = shell.run("worker", timeout=IN_TIME)
    check(done, "sentinel://:***@127.0.0.1:1?master_name=m;sentinel://127.0.0.1:2")


@pytest.mark.redis
@pytest.mark.worker
@pytest.mark.xdist_group("palaver-dev")
@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_refused_broker(dev: Dev, inside: Inside, shell: Shell, scheme: str) -> None:
    broker = f"{scheme}://user:hunter2@127.0.0.1:1//"
    environment = {"PALAVER_REDIS_URL": dev.said["redis_url"], "PALAVER_BROKER_URL": broker}
    inside.environment = shell.environment = environment
    for words in (["chat", "hi"], ["status"]):
        check(inside.run(*words), f"{scheme}://user:***@127.0.0.1:1")
    for words in PROCESSES:
        check(shell.run(*words, timeout=IN_TIME), f"{scheme}://user:***@127.0.0.1:1")


def test_a_silent_broker_keeps_dev_from_starting_a_redis(shell: Shell, silent_port: int) -> None:
    shell.environment["PALAVER_BROKER_URL"] = f"amqp://user:hunter2@127.0.0.1:{silent_port}//"
    check(shell.run("dev", "--no-flower", timeout=IN_TIME), f"127.0.0.1:{silent_port}")
    assert (shell.folder / ".palaver" / "dev.log").read_bytes() == b""


def test_the_line_is_a_document_with_json(inside: Inside) -> None:
    inside.environment["PALAVER_REDIS_URL"] = "redis://127.0.0.1:1/0"
    done = inside.run("status", "--json")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"], error["retryable"]) == (3, "ledger_unavailable", True)
    assert "redis://127.0.0.1:1/0" in error["message"]


@pytest.mark.redis
def test_a_database_that_is_not_there(inside: Inside, redis_server: RedisServer) -> None:
    inside.environment["PALAVER_REDIS_URL"] = redis_server.url.rpartition("/")[0] + "/9999"
    check(inside.run("status"), "/9999")
