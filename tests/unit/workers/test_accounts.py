"""When jobs that wait for their tenant's money come again."""

from itertools import count, pairwise

from palaver.shared.ledger import AsyncLedger
from palaver.shared.settings import Settings
from palaver.workers import accounts
from palaver.workers.accounts import Account


def test_parked_jobs_come_again_one_after_the_other_and_in_time() -> None:
    account = Account(AsyncLedger(Settings()), "acme", worker="w", numbers=count(1))
    tries = [account.next_try() for _ in range(1000)]
    assert tries[0] == accounts.LOOK_SECONDS
    assert all(later > earlier + 0.4 for earlier, later in pairwise(tries[:100]))
    assert max(tries) <= accounts.LONGEST_SECONDS
