"""What a worker keeps of gates."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from palaver.shared.ledger import Keys
from palaver.shared.tenants import Tenants
from palaver.workers.gates import LINGER_SECONDS, Gates
from palaver.workers.lent_slots import LentSlots
from palaver.workers.link import Link
from palaver.workers.metrics import Counts

LINK = Link("redis://127.0.0.1")
"""Never started."""


def test_profiles_that_nobody_asks_any_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key may be a sealed profile, and every worker hears when one is closed."""
    clock: Any = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr("palaver.workers.gates.time", clock)
    gates = Gates(
        LINK,
        Keys(),
        cast("Any", None),
        cast("Any", Tenants({})),
        lease=10.0,
        lent=LentSlots(lambda: 1),
        counts=Counts(),
    )
    for number in range(1000):
        clock.now += 1
        gates.heed(f"sealed-{number}", 1.0)
    assert len(gates._closed) <= LINGER_SECONDS + 2
