"""What was spent, by day, tenant and model: counted when a job has ended, whoever ended it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from palaver.shared.errors import ValidationError
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Argument, Command, Query, Retention, milliseconds
from palaver.shared.ledger.scripts import load
from palaver.shared.spending import DailyUsage, Spending, Spent

NANO: Final = 1_000_000_000
"""Costs are kept as whole billionths of a dollar, so that sums are exact."""


def count(
    keys: Keys, session_id: str, job_id: str, *, spent: bytes, ended: int, retention: Retention
) -> tuple[Command, ...]:
    """After a job's end, at `ended` ms: add what it has spent to its day. Repeated, it adds nothing.

    Goes before the command that drops the job's entry in `due`: until then a sweep makes up for a crash.
    """
    spending = _spending(spent)
    if spending is None or not spending.models:
        return ()
    words = [word for each in spending.models for field in fields_of(each) for word in field]
    return (
        *_count(keys, job_id, spending.tenant or "", words, ended=ended, retention=retention),
        Command("HDEL", keys.job(session_id, job_id), "spent"),  # it was a sixth of what an ended job costs
    )


def count_batch(
    keys: Keys, batch_id: str, *, tenant: str, words: Sequence[Argument], ended: int, retention: Retention
) -> tuple[Command, ...]:
    """The same of a batch, with its sums as the ledger has them: field, how much, …"""
    return _count(keys, batch_id, tenant, words, ended=ended, retention=retention) if words else ()


def _count(
    keys: Keys, job_id: str, tenant: str, words: Sequence[Argument], *, ended: int, retention: Retention
) -> tuple[Command, ...]:
    day = datetime.fromtimestamp(ended / 1000, UTC).date()
    kept, kept_day = milliseconds(retention.job), milliseconds(retention.usage)
    return (
        Command.call(load("count"), keys.usage(day, tenant), job_id, ended, kept, kept_day, *words),
        Command("SADD", keys.usage_tenants(day), tenant),
        Command("PEXPIRE", keys.usage_tenants(day), kept_day),
    )


def tenants(keys: Keys, days: Sequence[date]) -> Query[list[tuple[date, str]]]:
    """Who has spent something on which day; without a tenant: ``""``."""

    def decode(replies: Sequence[Any]) -> list[tuple[date, str]]:
        found = zip(days, replies, strict=True)
        return [(day, name) for day, names in found for name in sorted(each.decode() for each in names)]

    commands = tuple(Command("SMEMBERS", keys.usage_tenants(day)) for day in days)
    return Query(commands=commands, decode=decode)


def rows(keys: Keys, places: Sequence[tuple[date, str]]) -> Query[list[DailyUsage]]:
    """What these tenants have spent on these days, one row for each model."""

    def decode(replies: Sequence[Any]) -> list[DailyUsage]:
        found = zip(places, replies, strict=True)
        return [row for (day, tenant), flat in found for row in _rows(day, tenant, flat)]

    commands = tuple(Command("HGETALL", keys.usage(*place)) for place in places)
    return Query(commands=commands, decode=decode)


def _spending(spent: bytes) -> Spending | None:
    try:
        return Spending.model_validate_json(spent) if spent else None
    except ValidationError:
        return None  # of another version: nobody's end fails by it


def fields_of(spent: Spent) -> Iterator[tuple[str, int]]:
    """What one model's part adds to the fields of a day."""
    usage = spent.usage
    counts = {
        "jobs": 1,
        "requests": spent.requests,
        "hits": spent.hits,
        "input_tokens": usage.input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
        "estimated": int(usage.estimated),
        "unpriced": int(usage.cost is None and spent.requests > 0),
        "nanos": round((usage.cost or 0) * NANO),
    }
    return ((f"{name} {spent.model}", much) for name, much in counts.items() if much)


def _rows(day: date, tenant: str, flat: Sequence[bytes]) -> Iterator[DailyUsage]:
    models: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for field, much in zip(flat[::2], flat[1::2], strict=True):
        name, _, model = field.decode().partition(" ")
        models[model][name] = int(much)
    for model, counts in sorted(models.items()):
        nanos, known = counts.pop("nanos", 0), counts.get("unpriced", 0) < counts.get("jobs", 0)
        cost = nanos / NANO if known else None
        yield DailyUsage(day=day.isoformat(), tenant=tenant or None, model=model, cost=cost, **counts)
