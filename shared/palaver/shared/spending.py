"""What a job has spent, model by model, as a worker notes it in the ledger; and what was spent on a day."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Self

from pydantic import Field

from palaver.shared.document import Document
from palaver.shared.error_tree import SpendLimitError
from palaver.shared.plain import Integer, Key, Real, Text, optional
from palaver.shared.responses import Usage

Count = Annotated[Integer, Field(ge=0)]


class Spent(Document):
    """What one model, `profile/model`, was asked: so many requests with this usage. What came from the cache
    is apart: nobody has spent it.
    """

    model: Text
    requests: Count = 0
    usage: Usage = Field(default_factory=Usage)
    hits: Count = 0
    cached: Usage | None = optional()


class Spending(Document):
    """What a job has spent so far. `said` counts the bytes of its answer up to which it is accounted for."""

    tenant: Key | None = optional()
    said: Count = 0
    models: list[Spent] = Field(default_factory=list)


class MonthlySpending(Document):
    """What a tenant (None: jobs without one) has spent in a month of UTC's, like `2026-11`, in US dollars,
    and what it may: `soft` is warned of, beyond `hard` nothing is asked for it until `resets_at`, Unix time.
    """

    tenant: Key | None = optional()
    month: Text
    spent: Annotated[Real, Field(ge=0)]
    soft: Annotated[Real, Field(ge=0)] | None = None
    hard: Annotated[Real, Field(ge=0)] | None = None
    resets_at: Real

    @classmethod
    def of(
        cls, tenant: str | None, day: date, spent: float, *, soft: float | None, hard: float | None
    ) -> Self:
        """That of the month of a day."""
        following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
        resets_at = datetime(following.year, following.month, 1, tzinfo=UTC).timestamp()
        month = month_of(day)
        return cls(tenant=tenant or None, month=month, spent=spent, soft=soft, hard=hard, resets_at=resets_at)

    @property
    def is_over(self) -> bool:
        """Whether nothing may be spent any more."""
        return self.hard is not None and self.spent >= self.hard

    @property
    def is_much(self) -> bool:
        """Whether it is to be warned of."""
        return self.soft is not None and self.spent >= self.soft

    def has_room_for(self, cost: float) -> bool:
        """Whether so many dollars more may be spent."""
        # In billionths, as the ledger counts: 0.1 and 0.2 are no more than 0.3.
        return self.hard is None or round(self.spent + cost - self.hard, 9) <= 0

    def error(self, cost: float | None = None) -> SpendLimitError:
        """Why nothing is asked for the tenant, or not what may cost so much."""
        until = datetime.fromtimestamp(self.resets_at, UTC).date()
        limit = self.hard or 0.0
        why = f"{self.told}, and may spend {limit:g} a month"
        if cost is None:
            told = f"{why}: no model is asked for it before {until} (UTC)."
        else:
            told = f"{why}: {cost:.4g} more has no room before {until} (UTC). Fewer max_tokens cost less."
        return SpendLimitError(told, spent=self.spent, limit=limit, resets_at=self.resets_at)

    @property
    def told(self) -> str:
        """What was spent, in words."""
        return f"The tenant {self.tenant or ''!r} has spent {self.spent:.2f} dollars in {self.month}"


def today(ahead: float = 0.0) -> date:
    """UTC's; or that of so many seconds later."""
    return (datetime.now(UTC) + timedelta(seconds=ahead)).date()


def month_of(day: date) -> str:
    """Like `2026-11`."""
    return f"{day:%Y-%m}"


class DailyUsage(Document):
    """What a tenant (None: jobs without one) has spent with a model, `profile/model`, on a day.

    `day` is UTC's, like `2026-11-21`; a job counts on that of its end. `requests` reached the provider,
    `hits` were answered from the cache and spent no tokens. `cost` is in US dollars, without the `unpriced`
    jobs, whose price is not known; None where none is known. Of `estimated` jobs a part of the tokens was not
    counted by the provider.
    """

    day: Text
    tenant: Key | None = optional()
    model: Text
    jobs: Count = 0
    requests: Count = 0
    hits: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    cost: Annotated[Real, Field(ge=0)] | None = None
    unpriced: Count = 0
    estimated: Count = 0
