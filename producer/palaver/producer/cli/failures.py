"""A failure as one line on stderr, and as an exit code."""

import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial

from palaver.shared.errors import (
    ConfigurationError,
    ErrorInfo,
    JobNotFoundError,
    PalaverError,
    ServiceUnavailableError,
    ValidationError,
)

_WRONG_INPUT = (ValidationError, ConfigurationError, JobNotFoundError, OSError)


def exit_code(error: Exception) -> int:
    """1 the job failed, 2 wrong usage or input, or an output that fails, 3 a service is unreachable."""
    if isinstance(error, ServiceUnavailableError):
        return 3
    return 2 if isinstance(error, _WRONG_INPUT) else 1


def report(error: Exception, *, as_json: bool, about: str = "") -> int:
    """Say what failed, and with what of several; return the exit code.

    With `as_json` the line is an ErrorInfo document.
    """
    message = _message(error)
    if about not in message:
        message = f"{about}: {message}"
    if as_json:
        info = ErrorInfo.of(error if isinstance(error, PalaverError) else ConfigurationError(message))
        _write(json.dumps({"error": {**info.model_dump(mode="json"), "message": message}}))
    else:
        complain(message)
    return exit_code(error)


def complain(message: str, *, code: str = "", as_json: bool = False) -> None:
    """Write one line to stderr, whatever the message contains."""
    line = " ".join(message.split())
    _write(json.dumps({"error": {"code": code, "message": line}}) if as_json else f"palaver: {line}")


def warn(message: str, *, as_json: bool) -> None:
    """Write one line to stderr about something that stops nothing."""
    _write(json.dumps({"warning": {"message": message}}) if as_json else f"palaver: {message}")


@contextlib.contextmanager
def warnings_told(tell: Callable[[str], None], *, as_json: bool) -> Iterator[None]:
    """Give what the client logs meanwhile to `tell`, instead of into the middle of a line of text."""
    handler = _Told(partial(warn, as_json=True) if as_json else tell)
    log = logging.getLogger("palaver.producer")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Told(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # who reads goes on, though this cannot be written
            self._tell(record.getMessage())


def _message(error: Exception) -> str:
    if isinstance(error, PalaverError):
        hint = _dev_hint() if isinstance(error, ServiceUnavailableError) else ""
        return " ".join(error.message.split()).rstrip(".") + hint
    return str(error)


def _dev_hint() -> str:
    """Where the address came from, when nobody chose it and that explains the failure."""
    from pathlib import Path

    from palaver.producer.cli.folder import FOLDER, DevFolder
    from palaver.shared.settings import Settings

    if "redis_url" in Settings().model_fields_set:
        return ""
    folder = DevFolder(Path())
    if folder.stale():
        return f"; {FOLDER}/dev.json is left over from a palaver dev that was killed, start it again"
    if folder.running():
        return "" if folder.addresses() else "; palaver dev is still starting in this folder"
    return "; set PALAVER_REDIS_URL, or start palaver dev in this folder"


def _write(line: str) -> None:
    with contextlib.suppress(OSError):  # there is nobody else to tell
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
