"""Extractors of the tests' own, each of one behaviour."""

import ctypes
import json
import os
import resource
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from palaver.workers.files import ExtractionUnavailable, TextExtractor

CALLS = "PALAVER_TEST_CALLS"
"""The variable that names a file to which each call adds a line."""


class Counting(TextExtractor):
    """Says what it was given, and that it was called."""

    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        print("what is printed", flush=True)
        with open(os.environ[CALLS], "a") as calls:
            calls.write(f"{file_path}\n")
        return f"{Path(file_path).suffix} {lang} {Path(file_path).read_text()}"


class Busy(TextExtractor):
    """Computes until there is a file to be seen."""

    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        number = 0
        while not Path(os.environ[CALLS]).exists():
            number = sum(range(100_000))
        return f"{number}"


class Hanging(TextExtractor):
    """Never returns; a process that it starts would not either."""

    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        while True:
            time.sleep(3600)


class TakenOver(TextExtractor):
    """By its file, which answers in its place: with so many bytes, or with itself."""

    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        said = Path(file_path).read_text()
        for place in range(3, 20):
            with suppress(OSError):
                os.write(place, b" " * int(said) if said.isdigit() else said.encode())
        os._exit(0)


class Looking(TextExtractor):
    """Says what the environment of its process is."""

    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        return json.dumps(dict(os.environ))


class Starting(TextExtractor):
    """Starts a process and leaves it behind; says which, and what it may use."""

    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        started = subprocess.Popen(["sleep", "3600"])
        kinds = ("AS", "CORE", "CPU", "FSIZE")
        limits = {kind: resource.prlimit(started.pid, getattr(resource, f"RLIMIT_{kind}")) for kind in kinds}
        return json.dumps({"pid": started.pid, "limits": limits})


class Failing(TextExtractor):
    """Fails in the way that the file says."""

    def extract_text(self, file_path: str, lang: str = "eng") -> str:
        match Path(file_path).read_text():
            case "crash":
                ctypes.string_at(0)
            case "memory":
                return str(len(b"x" * (2 * 1024**3)))
            case "disk":
                with open(f"{file_path}.more", "wb") as more:
                    more.truncate(2 * 1024**3)
            case "lack":
                raise ExtractionUnavailable("it has no eyes")
            case "number":
                return 5  # type: ignore[return-value]
            case _:
                raise ValueError("with a secret")
        return ""


class NoExtractor:
    """Of another kind."""
