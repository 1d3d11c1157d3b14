"""The standard streams of a command, as its caller left them: closed, on a full disk, read by nobody, of
another encoding.
"""

import io
import os
import sys

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_closed() -> None:
    """Open the null device for what a shell has closed (`>&-`).

    Else there would be no stream in its place, and the next file or socket would get its number.
    """
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - until the process ends
            os.set_inheritable(stream.fileno(), stream.fileno() == number)
            setattr(sys, name, stream)


def take_any_text() -> None:
    """Let nothing that a model says be too much for the output: a pipe gets UTF-8 in every locale, a terminal
    question marks for what its encoding has no sign for.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")


def give_up_broken() -> None:
    """Turn what cannot be written any more to the null device: the interpreter would try again at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
