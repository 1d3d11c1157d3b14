"""`make demo`: the whole path on this machine, in a folder that is thrown away afterwards.

It starts the stack on free ports, streams one answer into the terminal, lets a second reader in another
process join in the middle, compares what both have, and stops everything.
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

from palaver.producer import Client
from palaver.producer.cli.dev import Options, running, say_died
from palaver.producer.cli.failures import complain, report
from palaver.producer.cli.folder import DevFolder
from palaver.producer.cli.processes import PartDied, Parts, StopAsked
from palaver.producer.cli.terminal import bold, columns, dim, harmless, note, seconds, write
from palaver.shared.accumulator import Accumulator
from palaver.shared.errors import PalaverError
from palaver.shared.events import AnyEvent, TextChunk, parse_event
from palaver.shared.settings import Settings

QUESTION = "What happens to my answer when I close the page?"
ANSWER = (
    "Nothing. You are reading this while it is written, but the worker that writes it does not know you. "
    "It appends every piece to the log of your session in Redis, and the same step tells all who listen. "
    "Leave, and the answer goes on. Come back, or let somebody else come for the first time: the reader "
    "takes what the log holds, then what arrives, and at the end every reader has the same text, "
    "no word missing and none twice. ☂ 雨の日も。"
)
INDENT = " " * 9
RATE = 15  # words a second
JOINS_AFTER = 0.2  # of the answer
PATIENCE = 60.0  # seconds


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


class Story(threading.Thread):
    """One question, one answer, two readers. A thread, so that the main one can watch the parts."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        super().__init__(name="story", daemon=True)
        self._settings = settings
        self._parts = parts
        self._told: threading.Event = threading.Event()
        self.holds = False

    def run(self) -> None:
        """Tell it."""
        try:
            with Client(self._settings) as client:
                self.holds = self._tell(client)
        except PalaverError as error:
            complain(error.message)
        finally:
            self._told.set()

    def told(self) -> bool:
        """Whether it is over."""
        return self._told.is_set()

    def _tell(self, client: Client) -> bool:
        write(f"\n{dim('you')}      {QUESTION}\n{dim('answer')}   ")
        page = Page()
        first, late = Reader(), None
        handle = client.submit(QUESTION, model="demo/guide")
        for event in handle.events():
            first.take(event)
            if isinstance(event, TextChunk):
                page.write(event.data.delta)
            if late is None and len(first.state.text) > JOINS_AFTER * len(ANSWER):
                page.write(" ⟨a second reader joins⟩", dim)
                late = LateReader(self._parts, handle.session_id, first)
        write("\n\n")
        result = handle.result(timeout=PATIENCE).content
        if late is None or not late.wait():
            complain("the second reader did not see the end of the answer")
            return False
        return _compare(first, late, result)


def _compare(first: Reader, late: LateReader, result: str) -> bool:
    """Print what happened; whether all have the same."""
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
    write("All texts are equal, to the last character.\n\n" if holds else "The texts DIFFER.\n\n")
    return holds


def main() -> int:
    """Run the demo; 0 if everything held."""
    begun = time.monotonic()
    _own_settings()
    write(f"{bold('Palaver')}: a chat job, from a queue through a worker to two readers\n\n")
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
    write(dim(f"worker and Redis stopped · {seconds(time.monotonic() - begun)} in all") + "\n")
    return 0 if story.holds else 1


def _play(folder: Path) -> Story:
    with running(Options(flower=False), folder) as (stack, parts):
        rows = [("Redis", stack.settings.redis_url, dim(stack.server)), ("worker", stack.worker, "")]
        write(columns(rows, indent=""))
        story = Story(stack.settings, parts)
        story.start()
        if not parts.until(story.told, seconds=PATIENCE):
            complain(f"the answer did not end within {PATIENCE:.0f} s")
        return story


def _own_settings() -> None:
    """The demo is the same everywhere: nobody's settings, and a script in the place of a model."""
    for name in [name for name in os.environ if name.startswith("PALAVER_")]:
        del os.environ[name]
    script = {"text": ANSWER, "rate": RATE}
    demo = {"kind": "scripted", "options": {"scripts": {"guide": script}}}
    os.environ["PALAVER_PROVIDERS"] = json.dumps({"demo": demo})


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (PalaverError, OSError) as failure:
        sys.exit(report(failure, as_json=False))
