"""What is shown of a job that waits, where no worker is."""

import json

import pytest

from palaver.producer.cli import main
from palaver.producer.gateway.sessions.views import Waits, job_of
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.profiles import Limits
from palaver.shared.settings import Settings

pytestmark = pytest.mark.redis


@pytest.fixture
def ledger(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> SyncLedger:
    monkeypatch.setenv("PALAVER_REDIS_URL", redis_url)
    return SyncLedger(Settings())


def test_a_job_that_waits_for_a_worker_says_who_is_ahead(
    ledger: SyncLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    with ledger:
        jobs = [ChatJob(messages="hi", tenant="acme") for _ in range(3)]
        for job in jobs:
            ledger.submit(job)
        assert job_of(ledger.job(jobs[2].job_id)).waits == Waits(position=2)
    assert main(["job", "show", jobs[2].job_id]) == 0
    assert "queued, 2 ahead\n" in capsys.readouterr().out
    assert main(["job", "show", jobs[1].job_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["prospect"] == {"position": 1, "seconds": None}


def test_a_job_that_waits_for_its_tenant_says_where(
    ledger: SyncLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    job, keys, gate = ChatJob(messages="hi", tenant="acme"), ledger.keys, operations.tenant_gate("acme")
    with ledger:
        place = (ledger.submit(job).session_id, job.job_id)
        claimed = ledger.run(operations.claim(keys, *place, token="t", worker="w", lease=30))
        for other in (("s", "j"), place):
            entering = operations.enter_gate(
                keys,
                gate,
                other,
                token="t",
                line=operations.user_line("", most=0),
                limits=Limits(concurrent=1),
                lease=30,
            )
            ledger.run(entering)
        fence = claimed.fence  # type: ignore[union-attr] # nobody else is there
        ledger.run(operations.release(keys, *place, fence=fence, delay=60, gate=gate))
    assert main(["job", "show", job.job_id]) == 0
    assert "running, waiting for tenant/acme, 0 ahead" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["job", "show"], ["job", "cancel"], ["job", "retry"], ["dead", "retry"], ["dead", "drop"]]
)
def test_a_job_that_nobody_knows_is_wrong_input(
    ledger: SyncLedger, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.check()
    assert main([*words, "0199"]) == 2
    said = capsys.readouterr().err
    assert "0199" in said
    assert said.count("\n") == 1
