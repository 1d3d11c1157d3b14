"""`palaver usage`: what was spent, by day, tenant and model; and in this month, by tenants with a limit."""

from collections.abc import Sequence
from datetime import date

from palaver.producer import Client
from palaver.producer.cli.terminal import columns, note, one_line, write, write_json
from palaver.shared.errors import ValidationError
from palaver.shared.spending import DailyUsage, MonthlySpending
from palaver.shared.tenants import Tenants

HEADINGS = ("DAY", "TENANT", "MODEL", "JOBS", "REQUESTS", "HITS", "TOKENS IN", "TOKENS OUT", "COST")


def run(since: str | None, until: str | None, *, tenant: str | None, as_json: bool) -> int:
    """One line for each model of each tenant and day."""
    with Client() as client:
        rows = client.usage(since=_day(since, "since"), until=_day(until, "until"), tenant=tenant)
        months = [client.spending(name) for name in _limited(Tenants.load(client.settings), rows, tenant)]
    if as_json:
        for document in (*rows, *months):
            write_json(document.model_dump(mode="json"))
        return 0
    if rows:
        write(columns([HEADINGS, *map(_row, rows)], indent=""))
        _explain(rows)
    else:
        note("nothing was spent")
    for month in months:
        note(_month(month))
    return 0


def _limited(tenants: Tenants, rows: Sequence[DailyUsage], asked: str | None) -> list[str]:
    """Those with a limit: of all that were seen or configured, or the one that is asked for."""
    names = {asked} if asked is not None else {row.tenant or "" for row in rows} | set(tenants.names)
    limits = {name: tenants.of(name) for name in sorted(names)}
    return [name for name, limit in limits.items() if (limit.spend_soft, limit.spend_hard) != (None, None)]


def _month(month: MonthlySpending) -> str:
    spent = f"{one_line(month.tenant or '-', 40)}: ${month.spent:.2f}"
    of = "" if month.hard is None else f" of ${month.hard:.2f}"
    warned = "" if month.soft is None else f", warned from ${month.soft:.2f}"
    over = ": nothing is asked for it before the next month" if month.is_over else ""
    return f"{spent}{of} in {month.month}{warned}{over}"


def _day(value: str | None, name: str) -> date | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValidationError(f"--{name} must be a day like 2026-11-21", param=name) from None


def _row(row: DailyUsage) -> tuple[str, ...]:
    about = "~" if row.estimated else ""
    cost = "" if row.cost is None else f"${row.cost:.6f}" + ("+" if row.unpriced else "")
    return (
        row.day,
        one_line(row.tenant or "-", 40),
        one_line(row.model, 40),
        *(str(count) for count in (row.jobs, row.requests, row.hits)),
        f"{about}{row.input_tokens}",
        f"{about}{row.output_tokens}",
        cost,
    )


def _explain(rows: Sequence[DailyUsage]) -> None:
    if any(row.estimated for row in rows):
        note("~ partly estimated: the provider did not count all of it")
    if any(row.unpriced for row in rows):
        note("COST with + or empty: what some of the jobs have cost is not known")
