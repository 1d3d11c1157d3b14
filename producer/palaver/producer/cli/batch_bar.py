"""A batch while it runs: a bar on a terminal, nothing in a pipe."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from palaver.producer import BatchHandle
from palaver.producer.cli.terminal import note, seconds
from palaver.shared.batches import BatchView

PATIENCE: Final = 5.0
"""Seconds without a sign of a worker, before the user is told."""

_ONE_LINE: Final = Column(no_wrap=True)


@contextmanager
def checking() -> Iterator[None]:
    """Say on a terminal that the input is being read."""
    with Console(stderr=True).status("checking the lines") if sys.stderr.isatty() else nullcontext():
        yield


def follow(handle: BatchHandle) -> BatchView:
    """Show the batch on stderr until its end; what it came to."""
    with _progress() as progress:
        view = handle.progress
        patience = time.monotonic() + PATIENCE
        task = progress.add_task("", total=view.batch.total, view=view)
        for view in handle.watch():
            progress.update(task, completed=view.counts.done, view=view)
            if view.drivers or view.results:
                patience = float("inf")
            elif time.monotonic() > patience:
                patience = float("inf")
                note("no worker has taken it yet: palaver status")
    return view


def describe(view: BatchView) -> str:
    """`970 of 1000 answered, 30 failed, 12000 tokens, $0.120000, 8.1 s`, as far as it is known."""
    counts = view.counts
    missing = counts.total - counts.done if view.status.ended else 0
    parts = [f"{counts.completed} of {counts.total} answered"]
    parts += [f"{counts.failed} failed"] if counts.failed else []
    parts += [f"{missing} not done"] if missing else []
    parts += [f"{view.batch.invalid} left out"] if view.batch.invalid else []
    parts += [f"{view.tokens} tokens"] if view.tokens else []
    parts += [f"${view.cost:.6f}"] if view.cost else []
    return ", ".join([*parts, seconds((view.ended_at or time.time()) - view.created_at)])


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.fields[view].status}", style="dim"),
        BarColumn(bar_width=None),
        _Counts(_ONE_LINE),
        _Rate(_ONE_LINE),
        TimeRemainingColumn(compact=True),
        console=console,
        # A pipe gets no bar, not even its last state: there is a line about that anyway.
        disable=not sys.stderr.isatty(),
        expand=True,
        transient=True,
        refresh_per_second=4,
    )


def _short(count: int) -> str:
    """42, 4.2k or 4.2M: what fits beside a bar."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 1_000_000 else f"{count / 1_000_000:.1f}M"


class _Counts(ProgressColumn):
    """What is done of how much, and what that took."""

    def render(self, task: Task) -> Text:
        view: BatchView = task.fields["view"]
        parts = [f"{view.counts.done}/{view.counts.total}"]
        parts += [f"{view.counts.failed} failed"] if view.counts.failed else []
        parts += [f"{_short(view.tokens)} tokens"] if view.tokens else []
        parts += [f"${view.cost:.4f}"] if view.cost else []
        return Text(" · ".join(parts))


class _Rate(ProgressColumn):
    """Lines a second, of the last half minute."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")
