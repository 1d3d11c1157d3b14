"""What a tenant may spend in a month."""

from datetime import date

import pytest

from palaver.shared.spending import MonthlySpending


@pytest.mark.parametrize(
    ("cost", "has_room"), [(0.2, True), (0.200000001, False), (0.1, True), (0.0, True), (0.3, False)]
)
def test_dollars_are_compared_as_the_ledger_counts_them(cost: float, has_room: bool) -> None:
    """To Python, 0.1 and 0.2 are more than 0.3."""
    month = MonthlySpending.of("acme", date(2026, 11, 22), 0.1, soft=None, hard=0.3)
    assert month.has_room_for(cost) is has_room
