"""`palaver usage`: what was spent, by day, tenant and model."""

from collections.abc import Sequence
from datetime import date

from palaver.producer import Client
from palaver.producer.cli.terminal import columns, note, one_line, write, write_json
from palaver.shared.errors import ValidationError
from palaver.shared.spending import DailyUsage

HEADINGS = ("DAY", "TENANT", "MODEL", "JOBS", "REQUESTS", "HITS", "TOKENS IN", "TOKENS OUT", "COST")


def run(since: str | None, until: str | None, *, tenant: str | None, as_json: bool) -> int:
    """One line for each model of each tenant and day."""
    with Client() as client:
        rows = client.usage(since=_day(since, "since"), until=_day(until, "until"), tenant=tenant)
    if as_json:
        for row in rows:
            write_json(row.model_dump(mode="json"))
    elif rows:
        write(columns([HEADINGS, *map(_row, rows)], indent=""))
        _explain(rows)
    else:
        note("nothing was spent")
    return 0


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
        note("+ or nothing: there are jobs of which the price is not known")
