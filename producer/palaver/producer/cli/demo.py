"""`make demo`: the whole path on this machine, in a folder that is thrown away afterwards.

It starts the stack on free ports, streams one answer into the terminal, lets a second reader in another
process join on the way, kills the worker in the middle of a sentence, compares what both readers have when
another worker has finished it, and stops everything.
"""

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from palaver.producer import Client, JobHandle
from palaver.producer.cli.dev import Options, Stack, running, say_died
from palaver.producer.cli.failures import complain, report
from palaver.producer.cli.folder import DevFolder
from palaver.producer.cli.processes import PartDied, Parts, StopAsked
from palaver.producer.cli.streams import take_any_text
from palaver.producer.cli.terminal import bold, columns, dim, harmless, note, seconds, write
from palaver.shared.accumulator import Accumulator
from palaver.shared.errors import PalaverError
from palaver.shared.events import AnyEvent, TextChunk, parse_event
from palaver.shared.settings import Settings

QUESTION = "What happens to my answer when I close the page, or the worker dies?"
ANSWER = (
    "Nothing. You are reading this while it is written, but the worker that writes it does not know you. "
    "It appends every piece to the log of your session in Redis, and the same step tells all who listen. "
    "Somebody may come late: whoever does takes what the log holds, then what arrives. "
    "And the worker may be killed, here: another one finds what was written and goes on behind it. "
    "At the end every reader has the same text, no word missing and none twice. ☂ 雨の日も。"
)
JOINS_AT = "Somebody may come late:"
DIES_AT = "And the worker may be killed, here:"
RATE = 15  # words a second

LEASE = 2.0  # seconds: with the default one a demo would have to stand still for too long
PATIENCE = 60.0  # seconds
INDENT = " " * 9


class Page:
    """Words in lines that fit the terminal, indented."""

    def __init__(self) -> None:
        self._width = min(100, shutil.get_terminal_size().columns) - len(INDENT)
        self._used = 0

    def write(self, word: str, style: Callable[[str], str] = str) -> None:
        """Write a word that begins with its blank."""
        if self._used + len(word) > self._width:
            write("\n" + INDENT)
            word, self._used = word.lstrip(), 0
        self._used += len(word)
        write(style(harmless(word)))

    def remark(self, words: str) -> None:
        """Write what happens meanwhile."""
        self.write(f" ⟨{words}⟩", dim)


class Reader:
    """What one reader of the job has seen."""

    def __init__(self) -> None:
        self.state = Accumulator()
        self.events = 0
        self.first_text: float | None = None
        self._begun = time.monotonic()

    def take(self, event: AnyEvent) -> None:
        """Add one event."""
        self.state.feed(event)
        self.events += 1
        if self.first_text is None and self.state.text:
            self.first_text = time.monotonic() - self._begun


class LateReader(Reader):
    """`palaver tail --json` in another process, started in the middle of the answer."""

    def __init__(self, parts: Parts, session_id: str, ahead: Reader) -> None:
        super().__init__()
        self.missed = 0  # events that the first reader had by then
        self._ahead = ahead
        self._done = threading.Event()
        command = [sys.executable, "-m", "palaver.producer.cli", "tail", session_id, "--json"]
        parts.start("reader", command, on_line=self._take_line)

    def _take_line(self, line: bytes) -> None:
        self.missed = self.missed or self._ahead.events
        self.take(parse_event(json.loads(line)))
        if self.state.done:
            self._done.set()

    def wait(self) -> bool:
        """Wait until it has seen the end."""
        return self._done.wait(PATIENCE)


class Crash:
    """The worker that writes an answer is killed. How long does the answer stand still?"""

    def __init__(self, stack: Stack, parts: Parts, *, worker: str, attempt: int) -> None:
        # The ledger has the worker's name and, behind a slash, which of its lives it is.
        writer = stack.workers[worker.rpartition("/")[0]]
        (other,) = (part for part in stack.workers.values() if part is not writer)
        self.victim, self.heir = writer.name, other.name
        self.recovery: float | None = None
        self._attempt = attempt
        parts.kill(writer)
        self._at = time.monotonic()

    def is_over(self, event: AnyEvent) -> bool:
        """Whether the answer goes on with this event, the first of another attempt."""
        if self.recovery is not None or event.attempt <= self._attempt:
            return False
        self.recovery = time.monotonic() - self._at
        return True


class Story(threading.Thread):
    """One answer, two readers, one death. A thread, so that the main one can watch the parts."""

    def __init__(self, stack: Stack, parts: Parts) -> None:
        super().__init__(name="story", daemon=True)
        self._stack = stack
        self._parts = parts
        self._told: threading.Event = threading.Event()
        self.holds = False

    def run(self) -> None:
        """Tell it."""
        try:
            with Client(self._stack.settings) as client:
                self.holds = self._tell(client.submit(QUESTION, model="demo/guide"))
        except PalaverError as error:
            complain(error.message)
        finally:
            self._told.set()

    def told(self) -> bool:
        """Whether it is over."""
        return self._told.is_set()

    def _tell(self, handle: JobHandle) -> bool:
        write(f"\n{dim('you')}      {QUESTION}\n{dim('answer')}   ")
        page, first = Page(), Reader()
        late: LateReader | None = None
        crash: Crash | None = None
        for event in handle.events():
            first.take(event)
            if crash and crash.is_over(event):
                page.remark(f"{crash.heir} goes on")
            if isinstance(event, TextChunk):
                page.write(event.data.delta)
            if late is None and JOINS_AT in first.state.text:
                late = LateReader(self._parts, handle.session_id, first)
                page.remark("a second reader joins")
            if crash is None and DIES_AT in first.state.text and (worker := (view := handle.view()).worker):
                crash = Crash(self._stack, self._parts, worker=worker, attempt=view.attempt)
                page.remark(f"{crash.victim} is killed")
        write("\n\n")
        result = handle.result(timeout=PATIENCE).content
        if late is None or not late.wait():
            complain("the second reader did not see the end of the answer")
            return False
        return _compare(first, late, result) and _recovered(crash)


def _compare(first: Reader, late: LateReader, result: str) -> bool:
    """Print what the readers have; whether all have the same."""
    texts = (first.state.text, late.state.text, result)
    quick = seconds(first.first_text or 0.0)
    rows = [
        ("reader 1", f"{first.events} events", f"{len(texts[0])} characters", f"first token after {quick}"),
        (
            "reader 2",
            f"{late.events} events",
            f"{len(texts[1])} characters",
            f"joined after {late.missed} of them",
        ),
        ("result()", "", f"{len(texts[2])} characters", ""),
    ]
    write(columns(rows, indent=""))
    holds = len({*texts, ANSWER}) == 1 and first.events == late.events
    write("All texts are equal, to the last character.\n" if holds else "The texts DIFFER.\n")
    return holds


def _recovered(crash: Crash | None) -> bool:
    """Print how the answer went on; whether another worker wrote the rest."""
    if crash is None or crash.recovery is None:
        complain("no worker was killed, or none took its place")
        return False
    took = seconds(crash.recovery)
    write(f"{crash.victim} was killed; {crash.heir} went on with its answer {took} later.\n\n")
    return True


def main() -> int:
    """Run the demo; 0 if everything held."""
    begun = time.monotonic()
    take_any_text()
    _own_settings()
    write(f"{bold('Palaver')}: a chat job, through a queue and a worker that dies, to two readers\n\n")
    with tempfile.TemporaryDirectory(prefix="palaver-demo-") as folder:
        os.chdir(folder)
        try:
            story = _play(Path(folder))
        except PartDied as death:
            return say_died(death, DevFolder(Path(folder)))
        except StopAsked:
            note("stopped")
            return 1
        finally:
            os.chdir("/")
    write(dim(f"workers and Redis stopped · {seconds(time.monotonic() - begun)} in all") + "\n")
    return 0 if story.holds else 1


def _play(folder: Path) -> Story:
    with running(Options(port_redis=0, flower=False, gateway=False, workers=2), folder) as (stack, parts):
        _introduce(stack)
        story = Story(stack, parts)
        story.start()
        if not parts.until(story.told, seconds=PATIENCE):
            complain(f"the answer did not end within {PATIENCE:.0f} s")
        return story


def _introduce(stack: Stack) -> None:
    usual = Settings.model_fields["lease_seconds"].default
    rows = [
        ("Redis", stack.settings.redis_url),
        ("", dim(stack.server)),
        *((part.name, name) for name, part in stack.workers.items()),
        ("lease", f"{LEASE:g} s here, {usual:g} s as a rule; then a silent worker's job is another's"),
    ]
    write(columns(rows, indent=""))


def _own_settings() -> None:
    """The demo is the same everywhere: nobody's settings, and a script in the place of a model."""
    for name in [name for name in os.environ if name.startswith("PALAVER_")]:
        del os.environ[name]
    script = {"text": ANSWER, "rate": RATE}
    demo = {"kind": "scripted", "options": {"scripts": {"guide": script}}}
    os.environ["PALAVER_PROVIDERS"] = json.dumps({"demo": demo})
    os.environ["PALAVER_LEASE_SECONDS"] = str(LEASE)
    os.environ["PALAVER_RENEW_SECONDS"] = str(LEASE * 0.3)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PalaverError, OSError) as failure:
        sys.exit(report(failure, as_json=False))
