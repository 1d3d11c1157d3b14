"""When jobs that wait for their tenant's money come again."""

from itertools import count, pairwise
from types import SimpleNamespace

import pytest

from palaver.shared.ledger import Keys
from palaver.workers import accounts
from palaver.workers.accounts import Account, Accounts
from palaver.workers.link import Link

LINK = Link("redis://127.0.0.1")
"""Never started."""


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In which all of them are parked."""
    monkeypatch.setattr(accounts, "time", SimpleNamespace(monotonic=lambda: 1000.0))


async def test_who_is_parked_alone_knows_who_was_before() -> None:
    """Nothing else holds the account, where what runs is another worker's."""
    known = Accounts(LINK, Keys(), worker="w")
    tries = [known.next_try(known.of("acme")) for _ in range(3)]
    assert tries == pytest.approx([5.0, 5.5, 6.0])


def test_parked_jobs_come_again_one_after_the_other_and_in_time() -> None:
    account = Account(LINK, Keys(), "acme", worker="w", numbers=count(1))
    tries = [account.next_try() for _ in range(1000)]
    assert tries[0] == accounts.LOOK_SECONDS
    assert all(later > earlier + 0.4 for earlier, later in pairwise(tries[:100]))
    assert max(tries) <= accounts.LONGEST_SECONDS
