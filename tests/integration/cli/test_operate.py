"""`palaver provider pause|resume` and `palaver drain`, with a worker as it is in production."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from palaver.producer import Client
from palaver.producer.cli import main
from palaver.shared.settings import Settings
from tests.processes import Running
from tests.servers import IN_TIME, eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]

Command = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def command(
    palaver_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run `palaver WORDS --json` in this process: its exit code, and what it said on either stream."""
    for name, value in palaver_env.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, list[dict[str, Any]]]:
        code = main([*words, "--json"])
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in (out + err).splitlines() if line.startswith("{")]

    return run


def test_a_provider_is_paused_and_resumed_and_its_worker_drained(
    worker: Callable[..., Running], palaver_env: dict[str, str], command: Command
) -> None:
    running = worker("--hostname", "w1@here", env={"PALAVER_DRAIN_SECONDS": "30"})
    with Client(Settings.model_validate({"redis_url": palaver_env["PALAVER_REDIS_URL"]})) as client:
        assert eventually(lambda: client.ledger.workers())
        assert command("provider", "pause", "scripted", "--hours", "1") == (
            0,
            [{"profile": "scripted", "paused": True, "seconds": 3600.0}],
        )
        running.wait_for(r"provider\.paused profile=scripted by=\S+@")
        job = client.submit("one two three", model="scripted/echo")
        assert eventually(lambda: client.job(job.job_id).view().gate == "scripted")
        (gate,) = command("status", "--quick")[1][0]["gates"]
        assert (gate["name"], gate["waiting"], 0 < gate["paused"]["seconds"] <= 3600) == (
            "scripted",
            1,
            True,
        )
        assert command("provider", "resume", "scripted")[0] == 0
        assert job.result(timeout=IN_TIME).content.endswith("three")
        running.wait_for(r"provider\.resumed profile=scripted")

        long = client.submit('{"n": 100, "rate": 20}', model="scripted/echo")
        assert eventually(lambda: long.view().text)
        code, said = command("drain", "w1@here", "--wait")
        draining = {"worker": "w1@here", "state": "draining", "running": 1}
        assert (code, said) == (0, [draining, {"worker": "w1@here", "state": "gone"}])
        running.wait_for(r"worker\.drain_asked worker=w1@here by=\S+@\S+")
        assert running.wait(IN_TIME) == 0
        assert long.result(timeout=IN_TIME).finish_reason == "stop"


def test_what_nobody_serves_can_be_neither_paused_nor_drained(command: Command) -> None:
    code, (said,) = command("provider", "pause", "nope")
    assert (code, "known are: scripted" in said["error"]["message"]) == (2, True)
    code, (said,) = command("drain", "nobody@here")
    assert (code, "there are: none" in said["error"]["message"]) == (2, True)
    assert command("provider", "resume", "nope")[0] == 0
