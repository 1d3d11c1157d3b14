"""What was spent, through both clients."""

from datetime import UTC, date, datetime, timedelta

import pytest

from palaver.producer import AsyncClient, Client
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Claimed, operations
from palaver.shared.responses import Usage
from palaver.shared.settings import Settings
from palaver.shared.spending import Spending, Spent

pytestmark = pytest.mark.redis


def spend(client: Client, tenant: str, cost: float) -> None:
    """Have a job of this tenant end, having cost this."""
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


async def test_both_clients_tell_the_same(client: Client, settings: Settings) -> None:
    for tenant, cost in (("a", 0.5), ("b", 0.25), ("a", 0.5)):
        spend(client, tenant, cost)
    today = datetime.now(UTC).date()
    since = today - timedelta(days=1)  # midnight may have been a moment ago
    rows = client.usage(since=since)
    assert [(row.tenant, row.model, row.jobs, row.cost) for row in rows] == [
        ("a", "p/m", 2, 1.0),
        ("b", "p/m", 1, 0.25),
    ]
    assert client.usage(since=since, until=today, tenant="b") == rows[1:]
    assert client.usage(tenant="") == []
    async with AsyncClient(settings) as other:
        assert await other.usage(since=since) == rows
        assert await other.usage(since=since, tenant="a") == rows[:1]
    with pytest.raises(ValidationError, match="since"):
        client.usage(since=date(9999, 1, 1))
