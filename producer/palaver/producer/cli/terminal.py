"""Writing to a terminal: dim notes, aligned columns, and nothing that a model could use to control it."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import typer

# ESC and its kin become visible pictures, so that no text can move the cursor, set a title or hide a line.
_PICTURES: dict[int, str | None] = {code: chr(0x2400 + code) for code in range(0x20)}
_PICTURES |= dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}")
_PICTURES |= {0x7F: "\N{SYMBOL FOR DELETE}", ord("\r"): None}
del _PICTURES[ord("\n")], _PICTURES[ord("\t")]


def harmless(text: str) -> str:
    """`text` without terminal control characters. Newlines and tabs stay, carriage returns are dropped."""
    return text.translate(_PICTURES)


def one_line(text: str, width: int = 160) -> str:
    """`text` for a line of a listing: harmless, without line breaks, shortened."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def write_json(document: Any) -> None:
    """One document as one line of JSON on stdout."""
    write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")


def write(text: str) -> None:
    """Text for stdout, at once. Ends the command, well, when whoever read it (`| head`) has enough."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # typer would take it for a failure
        raise typer.Exit(0) from None


def note(text: str) -> None:
    """One dim line on stderr, which a pipe does not swallow."""
    sys.stderr.write(dim(text, sys.stderr) + "\n")
    sys.stderr.flush()


def dim(text: str, stream: TextIO | None = None) -> str:
    """`text` in the terminal's faint style, where the stream is a terminal that has one."""
    return f"\x1b[2m{text}\x1b[0m" if _styled(stream or sys.stdout) else text


def bold(text: str) -> str:
    """`text` in bold on a terminal."""
    return f"\x1b[1m{text}\x1b[0m" if _styled(sys.stdout) else text


def columns(rows: Iterable[Sequence[str]], *, indent: str = "  ") -> str:
    """Rows as aligned columns, without trailing blanks."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
    lines = ("   ".join([*map(str.ljust, row, widths), row[-1]]) for row in table)
    return "".join(f"{indent}{line.rstrip()}\n" for line in lines)


def seconds(value: float) -> str:
    """A duration for people: 0.12 s, 4.1 s, 3 min 20 s, 29 d 23 h."""
    if value >= 7200:
        hours = int(value // 3600)
        return f"{hours // 24} d {hours % 24} h" if hours >= 48 else f"{hours} h {int(value // 60 % 60)} min"
    if value < 1:
        return f"{value:.2f} s"
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)} min {int(value % 60)} s"


def _styled(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
