"""Whoever follows a batch sits an outage out, once the service was there."""

import pytest

from palaver.producer.batches import watching
from palaver.producer.batches.watching import Patience
from palaver.shared.errors import FileStoreUnavailableError, LedgerUnavailableError


class Service:
    """Does what its test says, answer by answer."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)

    async def ask(self, question: str) -> int:
        assert question == "how many"
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 0)


async def test_what_was_there_is_waited_for() -> None:
    patience = Patience()
    service = Service(1, LedgerUnavailableError(), FileStoreUnavailableError(), 2)
    assert [await patience.ask(service.ask, "how many") for _ in range(2)] == [1, 2]


async def test_what_was_never_there_is_told_at_once() -> None:
    service = Service(LedgerUnavailableError(), 1)
    with pytest.raises(LedgerUnavailableError):
        await Patience().ask(service.ask, "how many")
    assert service.answers == [1]


async def test_a_minute_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = Patience()
    service = Service(1, LedgerUnavailableError(), 2)
    await patience.ask(service.ask, "how many")
    monkeypatch.setattr(watching, "OUTAGE_SECONDS", -1)
    with pytest.raises(LedgerUnavailableError):
        await patience.ask(service.ask, "how many")


async def test_what_is_wrong_otherwise_is_told() -> None:
    patience = Patience()
    service = Service(1, ValueError("no"))
    await patience.ask(service.ask, "how many")
    with pytest.raises(ValueError, match="no"):
        await patience.ask(service.ask, "how many")
