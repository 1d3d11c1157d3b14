"""Ended jobs are done again, once; dead letters are listed, retried and dropped."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from palaver.producer import AsyncClient, Client, JobHandle
from palaver.producer.cli import main
from palaver.shared.errors import (
    ErrorInfo,
    JobError,
    JobNotFinishedError,
    JobNotFoundError,
    ServerError,
    SessionBusyError,
    ValidationError,
)
from palaver.shared.ids import new_job_id
from palaver.shared.jobs import OnBusy, Status
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import StandIn
from tests.servers import RedisServer

WorkOn = Callable[[JobHandle], StandIn]


@pytest.fixture
def die(client: Client, work_on: WorkOn) -> Callable[..., JobHandle]:
    """Submit a job that fails after the half of its answer; the provider's error quotes what was asked."""

    def die(session_id: str = "s1", **fields: Any) -> JobHandle:
        handle: JobHandle = client.submit("the question", session_id=session_id, **fields)
        worker = work_on(handle)
        worker.start()
        worker.say("half an answer")
        worker.fail(
            ServerError("cannot answer: the question", provider="p", param="a question", status_code=529)
        )
        return handle

    return die


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str], str]]:
    """Run a command in the test's namespace: its exit code, lines of stdout, and stderr."""
    monkeypatch.setenv("PALAVER_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("PALAVER_NAMESPACE", settings.namespace)

    def run(*words: str) -> tuple[int, list[str], str]:
        code = main(list(words))
        out, err = capsys.readouterr()
        for content in ("question", "half", "answer"):
            assert content not in out + err
        return code, out.splitlines(), err

    return run


Die = Callable[..., JobHandle]
Run = Callable[..., tuple[int, list[str], str]]


def test_a_retry_is_a_new_job_with_the_same_document(client: Client, die: Die, work_on: WorkOn) -> None:
    fields: dict[str, Any] = {
        "params": {"temperature": 0.2},
        "priority": 9,
        "deadline": 77,
        "metadata": {"order": 7},
    }
    old = die(idempotency_key="mine", **fields)
    began = time.time()
    new = client.retry(old.job_id)
    assert new.job_id != old.job_id
    assert new.session_id == "s1"
    before, after = (client.ledger.job(handle.job_id, document=True) for handle in (old, new))
    assert (before.status, after.status) == (Status.FAILED, Status.QUEUED)
    assert after.document is not None
    assert before.document is not None
    assert after.document.retry_of == old.job_id
    same = {"job_id", "retry_of", "idempotency_key"}
    assert after.document.model_dump(exclude=same) == before.document.model_dump(exclude=same)
    assert 77 - (time.time() - began) - 1 < after.time_left <= 77
    response = work_on(new).answer(["fine"])
    assert new.result(10).content == response.content
    # `mine` still names the job that it named.
    assert (
        client.submit("the question", session_id="s1", idempotency_key="mine", **fields).job_id == old.job_id
    )


def test_a_repeated_retry_makes_no_second_job(
    client: Client, die: Die, work_on: WorkOn, redis_server: RedisServer
) -> None:
    old = die()
    new = client.retry(old.job_id)
    assert client.retry(old.job_id).job_id == new.job_id
    work_on(new).fail(ServerError("again"))
    assert client.retry(old.job_id).job_id == new.job_id
    newest = client.retry(new.job_id)
    assert newest.job_id not in (old.job_id, new.job_id)
    with redis_server.client() as redis:
        assert len(list(redis.scan_iter("*:job:*"))) == 2 * 3  # hash and index of three jobs


def test_the_letter_goes_when_its_successor_is_stored_and_not_before(client: Client, die: Die) -> None:
    old = die(on_busy="reject")
    other = client.submit("busy now", session_id="s1")
    with pytest.raises(SessionBusyError):
        client.retry(old.job_id)
    assert [letter.job_id for letter in client.dead()] == [old.job_id]
    other.cancel()
    client.retry(old.job_id)
    assert client.dead() == []


@pytest.mark.parametrize("mode", ["interrupt", "rollback"])
def test_a_retry_interrupts_nobody(client: Client, die: Die, work_on: WorkOn, mode: str) -> None:
    old = die(on_busy=mode)
    running = client.submit("busy now", session_id="s1")
    work_on(running).start()
    new = client.retry(old.job_id)
    view = client.ledger.job(new.job_id, document=True)
    assert view.document is not None
    assert (view.position, view.document.on_busy) == (1, OnBusy.ENQUEUE)
    assert running.status is Status.RUNNING


def test_any_ended_job_may_be_retried_and_no_other(client: Client, work_on: WorkOn) -> None:
    done = client.submit("x")
    work_on(done).answer(["a"])
    assert client.retry(done.job_id).session_id == done.session_id
    waiting = client.submit("y")
    with pytest.raises(JobNotFinishedError, match=f"{waiting.job_id} is queued"):
        client.retry(waiting.job_id)
    waiting.cancel()
    assert client.retry(waiting.job_id).status is Status.QUEUED
    with pytest.raises(JobNotFoundError):
        client.retry("0199-no-such-job")
    with pytest.raises(ValidationError):
        client.retry("no such id")


def test_a_refused_job_has_nothing_to_retry(client: Client) -> None:
    job_id = new_job_id()
    client.ledger.refuse("s1", job_id, ErrorInfo.of(ValidationError("no", param="model")))
    assert client.dead() == []
    with pytest.raises(JobError, match="refused"):
        client.retry(job_id)


async def test_the_async_client_does_the_same(settings: Settings) -> None:
    async with AsyncClient(settings) as client:
        old = await client.submit("x", session_id="s1")
        with pytest.raises(JobNotFinishedError):
            await client.retry(old.job_id)
        StandIn.claim(settings, "s1", old.job_id).fail(ServerError("broken"))
        [letter] = await client.dead(5)
        assert (letter.job_id, letter.reason) == (old.job_id, "server_error")
        new = await client.retry(old.job_id)
        assert (await client.retry(old.job_id)).job_id == new.job_id
        assert await new.status() is Status.QUEUED
        assert await client.dead() == []


def test_listing_shows_why_and_no_content(die: Die, run: Run) -> None:
    assert run("dead", "list") == (0, [], "no dead letters\n")
    old = die(model="scripted/echo")
    code, [headings, row], err = run("dead", "list")
    assert (code, err) == (0, "")
    assert headings.split()[:5] == ["JOB", "SESSION", "STATUS", "MODEL", "REASON"]
    assert row.split()[:8] == [old.job_id, "s1", "failed", "scripted/echo", "server_error", "1", "0", "0"]
    assert row.endswith("HTTP 529: The provider failed.")
    code, [line], err = run("dead", "list", "--json")
    letter = json.loads(line)
    assert (letter["job_id"], letter["session_id"], letter["attempts"]) == (old.job_id, "s1", 1)
    assert letter["error"] == {
        "type": "ServerError",
        "code": "server_error",
        "message": "The provider failed.",
        "retryable": True,
        "http_status": 529,
        "provider": "p",
        "details": {"status_code": 529},
    }
    die("s2")
    code, lines, err = run("dead", "list", "--limit", "1", "--json")
    assert (code, len(lines)) == (0, 1)
    assert "more than 1" in err


def test_retrying_from_the_command_line(client: Client, die: Die, run: Run) -> None:
    first, second, third = die("s1"), die("s2"), die("s3")
    code, [line], err = run("dead", "retry", first.job_id, first.job_id)
    old, arrow, new = line.split()
    assert (code, old, arrow, err) == (0, first.job_id, "→", "")
    assert run("job", "retry", first.job_id) == (0, [line], "")
    code, [document], err = run("job", "retry", first.job_id, "--json")
    assert json.loads(document) == {
        "job_id": new,
        "retry_of": first.job_id,
        "session_id": "s1",
        "status": "queued",
    }
    code, lines, err = run("dead", "retry", "--all")
    assert (code, [line.split()[0] for line in lines]) == (0, [second.job_id, third.job_id])
    assert client.dead() == []
    assert run("dead", "retry", "--all") == (0, [], "")


def test_what_cannot_be_retried_is_said_and_the_others_are(client: Client, die: Die, run: Run) -> None:
    waiting, dead = client.submit("x"), die()
    code, lines, err = run("dead", "retry", "0199-none", waiting.job_id, dead.job_id)
    assert (code, len(lines)) == (2, 1)
    unknown, unended = err.splitlines()
    assert unknown == "palaver: There is no job 0199-none"
    assert unended.startswith(f"palaver: job {waiting.job_id} is queued")
    assert run("job", "retry", "0199-none")[0] == 2
    code, lines, err = run("job", "retry", "0199-none", "--json")
    assert (code, json.loads(err)["error"]["code"]) == (2, "job_not_found")


def test_dropping_from_the_command_line(client: Client, die: Die, run: Run) -> None:
    first, second, third = die("s1"), die("s2"), die("s3")
    assert run("dead", "drop", first.job_id) == (0, [first.job_id], "")
    code, lines, err = run("dead", "drop", first.job_id, second.job_id, "--json")
    assert (code, [json.loads(line)["job_id"] for line in lines]) == (2, [second.job_id])
    assert "is no dead letter" in json.loads(err)["error"]["message"]
    assert run("dead", "drop", "--all") == (0, [third.job_id], "")
    assert run("dead", "drop", "--all") == (0, [], "")
    assert client.dead() == []
    assert first.status is Status.FAILED
    assert client.retry(first.job_id).status is Status.QUEUED
