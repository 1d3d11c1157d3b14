"""The process in which one file's text is extracted: `python -m palaver.workers.files.child PLACE FILE LANG
SECONDS BYTES CHARACTERS`.

It reads what strangers have made, with parsers in C: so it has the file and nothing else, an end in time also
when its worker died, and bounds of memory, computing and written files, which the programs that it starts
inherit. Its answer is one JSON object: `text`, or `unavailable` and
`failed` with the reason.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
from typing import Any, BinaryIO

import orjson

from palaver.workers.files.extractor import ExtractionUnavailable, extractor_class


def main(arguments: list[str]) -> None:
    """Extract, answer."""
    place, path, lang, seconds, memory, characters = arguments
    answers = _apart()
    signal.setitimer(signal.ITIMER_REAL, float(seconds))
    _bound(float(seconds), int(memory))
    os.nice(10)  # the streams of the worker come first
    answers.write(orjson.dumps(_answer(place, path, lang, int(characters))))
    answers.flush()
    os._exit(0)  # native libraries may hang or complain at the end


def _bound(seconds: float, memory: int) -> None:
    computing = math.ceil(seconds * (os.cpu_count() or 1))  # of all its threads together
    bounds = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: computing,
        resource.RLIMIT_FSIZE: memory,
    }
    for kind, most in bounds.items():
        resource.setrlimit(kind, (most, most))


def _answer(place: str, path: str, lang: str, characters: int) -> dict[str, Any]:
    try:
        text = extractor_class(place)().extract_text(path, lang)
    except ExtractionUnavailable as lack:
        return {"unavailable": str(lack)}
    except Exception as error:  # noqa: BLE001 - whatever it raises is its result
        return {"failed": type(error).__name__}
    if not isinstance(text, str):
        return {"failed": "no text"}
    clean = text[:characters].encode("utf-8", "replace").decode()
    return {"text": clean, "characters": len(text)}


def _apart() -> BinaryIO:
    """Where the answer goes; what others print goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return answers


if __name__ == "__main__":
    main(sys.argv[1:])
