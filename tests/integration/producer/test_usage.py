"""What was spent, through both clients."""

import json
from datetime import date, timedelta

import pytest

from palaver.producer import AsyncClient, Client
from palaver.producer.cli import usage as command
from palaver.shared.errors import SpendLimitError, ValidationError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Claimed, operations
from palaver.shared.responses import Usage
from palaver.shared.settings import Settings
from palaver.shared.spending import Spending, Spent, today

pytestmark = pytest.mark.redis


def spend(client: Client, tenant: str, cost: float) -> None:
    """Have a job of this tenant end, having cost this, as its worker has told."""
    ledger, job = client.ledger, client.submit("Hello", tenant=tenant)
    address = (ledger.keys, job.session_id, job.job_id)
    claimed = ledger.run(operations.claim(*address, token="t", worker="w", lease=60))
    assert isinstance(claimed, Claimed)
    usage = Usage(input_tokens=1, output_tokens=2, cost=cost)
    note = Spending(tenant=tenant, models=[Spent(model="p/m", requests=1, usage=usage)]).to_json()
    ledger.run(
        operations.finish(
            *address,
            fence=claimed.fence,
            status=Status.COMPLETED,
            end=b'"type":"stream_end","data":{"status":"completed"}',
            spent=note,
            retention=ledger.retention,
        )
    )
    worker, nanos = job.job_id, round(cost * 10**9)
    ledger.run(operations.spend(ledger.keys, today(), tenant, worker=worker, number=1, nanos=nanos))


async def test_a_month_is_told_beside_what_the_tenant_may(
    client: Client,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for tenant in ("a", "a", "b"):
        spend(client, tenant, 0.5)
    tenants = {"a": {"spend_soft": 0.5, "spend_hard": 1.0}}
    limited = settings.model_copy(update={"tenants": tenants})
    with Client(limited) as other:
        month = other.spending("a")
        assert (month.spent, month.soft, month.hard, month.is_over) == (1.0, 0.5, 1.0, True)
        assert other.spending("b").spent == 0.5
        with pytest.raises(SpendLimitError):
            other.submit("hi", tenant="a")
    async with AsyncClient(limited) as third:
        assert await third.spending("a") == month
    monkeypatch.setenv("PALAVER_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("PALAVER_NAMESPACE", settings.namespace)
    monkeypatch.setenv("PALAVER_TENANTS", json.dumps(tenants))
    assert command.run(None, None, tenant=None, as_json=False) == 0
    told = capsys.readouterr()
    assert "0.500000" in told.out
    assert f"a: $1.00 of $1.00 in {month.month}, warned from $0.50: nothing is asked" in told.err
    assert command.run(None, None, tenant="a", as_json=True) == 0
    *_, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (last["tenant"], last["spent"], last["hard"], last["resets_at"]) == ("a", 1, 1, month.resets_at)


async def test_both_clients_tell_the_same(client: Client, settings: Settings) -> None:
    for tenant, cost in (("a", 0.5), ("b", 0.25), ("a", 0.5)):
        spend(client, tenant, cost)
    since = today() - timedelta(days=1)  # midnight may have been a moment ago
    rows = client.usage(since=since)
    assert [(row.tenant, row.model, row.jobs, row.cost) for row in rows] == [
        ("a", "p/m", 2, 1.0),
        ("b", "p/m", 1, 0.25),
    ]
    assert client.usage(since=since, until=today(), tenant="b") == rows[1:]
    assert client.usage(tenant="") == []
    async with AsyncClient(settings) as other:
        assert await other.usage(since=since) == rows
        assert await other.usage(since=since, tenant="a") == rows[:1]
    with pytest.raises(ValidationError, match="since"):
        client.usage(since=date(9999, 1, 1))
