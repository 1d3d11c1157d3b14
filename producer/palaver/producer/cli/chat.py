"""`palaver chat`: one job, from the terminal and back to it."""

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Self, Unpack

from palaver.producer import Client, JobHandle
from palaver.producer.cli.failures import complain, warnings_told
from palaver.producer.cli.terminal import note, one_line, seconds, write
from palaver.producer.cli.transcript import Transcript, describe_error, describe_usage, live
from palaver.producer.prepare import JobFields
from palaver.shared.accumulator import Accumulator
from palaver.shared.errors import PalaverError, SessionNotFoundError
from palaver.shared.events import AnyEvent
from palaver.shared.jobs import Status
from palaver.shared.plain import refuse

PATIENCE = 5.0  # seconds without a sign of a worker, before the user is told


def run(message: str, paths: Sequence[str], *, as_json: bool, **fields: Unpack[JobFields]) -> int:
    """Submit, with the files there; show what comes back, return 0 for a completed job and 1 for another
    end.
    """
    text = _utf8(sys.stdin.buffer.read() if message == "-" else os.fsencode(message))
    with Client() as client:
        fields["files"] = [client.files.upload(path) for path in paths]
        view = _View(as_json=as_json)
        with warnings_told(view.aside, as_json=as_json), _Interrupts(view) as interrupts:
            handle = _submit(client, text, fields)
            interrupts.handed_in(handle)
            view.wait()
            for event in handle.events():
                view.show(event)
    return view.finish(handle)


def _submit(client: Client, text: str, fields: JobFields) -> JobHandle:
    try:
        return client.submit(text, **fields)
    except SessionNotFoundError:
        tenant = fields.get("tenant")
        whose = "jobs without a tenant" if tenant is None else f"the tenant {tenant!r}"
    return refuse("session", f"is not one of {whose}: --tenant says whose it is")


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        wrong = f"is not UTF-8 at byte {error.start + 1}"
    return refuse("message", wrong)


class _View:
    """What one job's events become: a live terminal, one text for a pipe, or JSON lines."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._live = live()
        self._transcript = Transcript()
        self._state = Accumulator()
        self._begun = time.monotonic()
        self._first: float | None = None
        self._patience = threading.Timer(PATIENCE, self.aside, ["no worker has taken it yet: palaver status"])
        self._patience.daemon = True

    def wait(self) -> None:
        """The job is there: from now on a worker may be missed."""
        self._patience.start()

    def show(self, event: AnyEvent) -> None:
        """Take the next event."""
        self._state.feed(event)
        if event.type != "job_queued":
            self._patience.cancel()
        if self._first is None and (self._state.text or self._state.reasoning):
            self._first = time.monotonic() - self._begun
        if self._as_json:
            write(event.to_json().decode() + "\n")
        elif self._live:
            self._transcript.show(event)

    def aside(self, text: str) -> None:
        """A note for a person."""
        if not self._as_json:
            self._transcript.aside(text)

    def finish(self, handle: JobHandle) -> int:
        """The last lines; returns the exit code."""
        status = self._state.status
        if not self._as_json:
            if not self._live and self._state.text:
                write(self._state.text + "\n")
            self._say_end(handle, status)
        return 0 if status is Status.COMPLETED else 1

    def _say_end(self, handle: JobHandle, status: Status) -> None:
        error = self._state.error
        if status is Status.COMPLETED:
            note(self._summary(handle))
        elif status is Status.CANCELLED or error is None:
            note(f"{status} · {self._summary(handle)}")
        else:
            complain(f"job {handle.job_id} {status}: {describe_error(error)}")

    def _summary(self, handle: JobHandle) -> str:
        model = "/".join(filter(None, (self._state.provider, self._state.model)))
        first = f"first token {seconds(self._first)}" if self._first is not None else ""
        took = f"{seconds(time.monotonic() - self._begun)} in all"
        tokens = describe_usage(self._state.usage)
        told = " · ".join(filter(None, (one_line(model), tokens, first, took)))
        session = f"session {handle.session_id}"
        # A made-up session id is long; breaking it would make it hard to copy.
        fits = len(told) + len(session) + 3 <= shutil.get_terminal_size().columns
        return f"{told} · {session}" if fits or not self._live else f"{told}\n{session}"


class _Interrupts:
    """Ctrl-C asks the job to stop while its events go on being shown; the next one leaves at once.

    It holds while the job is handed in too: who leaves then may leave a job that runs, and knows no id of it.
    """

    def __init__(self, view: _View) -> None:
        self._view = view
        self._handle: JobHandle | None = None
        self._asked = False
        self._request: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def handed_in(self, handle: JobHandle) -> None:
        """There is a job now, to be asked to stop; it is at once if somebody wanted that meanwhile."""
        self._handle = handle
        if self._asked and self._request is None:
            self._cancel(handle)

    def _on_interrupt(self, _number: int, _frame: object) -> None:
        if not self._asked:
            self._asked = True
            self._view.aside("cancelling …")
            if self._handle is not None:
                self._cancel(self._handle)
        elif self._request is None or not self._request.is_alive():
            raise KeyboardInterrupt  # nobody leaves while the request is being made

    def _cancel(self, handle: JobHandle) -> None:
        # In a thread: the main one may be inside the client at this very moment.
        self._request = threading.Thread(target=_ask_to_stop, args=[handle], name="cancel", daemon=True)
        self._request.start()


def _ask_to_stop(handle: JobHandle) -> None:
    try:
        handle.cancel()
    except PalaverError as error:
        complain(error.message)
