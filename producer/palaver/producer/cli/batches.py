"""`palaver batch submit|status|results|cancel|retry`."""

import contextlib
import sys
import time
from contextlib import ExitStack
from typing import Any, BinaryIO, Unpack

from palaver.producer import BatchHandle, Client
from palaver.producer.batches import BatchFields
from palaver.producer.batches.following import Order
from palaver.producer.cli.batch_bar import checking, describe, follow
from palaver.producer.cli.failures import complain, exit_code
from palaver.producer.cli.terminal import columns, dim, note, one_line, write, write_json
from palaver.producer.cli.transcript import describe_error
from palaver.shared.batch_output import output_line
from palaver.shared.batches import BatchView
from palaver.shared.errors import BatchInputError, WaitTimeoutError

CANCEL_WAITS = 10.0  # seconds


def submit(
    path: str, *, skip_invalid: bool, detach: bool, as_json: bool, **fields: Unpack[BatchFields]
) -> int:
    """Check the file and open a batch of its lines; follow it, return 0 if every line was answered."""
    source: str | BinaryIO = sys.stdin.buffer if path == "-" else path
    with Client() as client:
        try:
            with checking():
                handle = client.batch(source, skip_invalid=skip_invalid, **fields)
        except BatchInputError as error:
            if as_json:
                raise
            return _refused(error)
        except KeyboardInterrupt:
            note("left before the batch's id was known; if it was opened it goes on: palaver status")
            return 1
        return _opened(handle, detach=detach, as_json=as_json)


def retry(batch_id: str, *, detach: bool, as_json: bool) -> int:
    """Open a batch of the lines that have no answer; as `submit`."""
    with Client() as client:
        return _opened(client.batches(batch_id).retry_failed(), detach=detach, as_json=as_json)


def status(batch_id: str, *, wait: bool, as_json: bool) -> int:
    """How far it is; with `wait`, the bar until its end, and 0 if every line was answered."""
    with Client() as client:
        handle = client.batches(batch_id)
        if wait:
            return _watched(handle, as_json=as_json)
        view = handle.progress
    if as_json:
        write_json(_document(view))
    else:
        _print(view)
    return 0


def cancel(batch_id: str, *, as_json: bool) -> int:
    """Have no line begin any more, and wait for the end; an ended one answers with how it ended."""
    with Client() as client:
        handle = client.batches(batch_id)
        if not handle.cancel().ended:
            with contextlib.suppress(WaitTimeoutError):
                handle.wait(timeout=CANCEL_WAITS)
        view = handle.progress
    if as_json:
        write_json(_document(view))
    else:
        write(f"{view.status}\n" if view.status.ended else f"{view.status}, asked to stop\n")
    return 0


def results(batch_id: str, *, order: Order, errors: str | None) -> int:
    """The results as OpenAI's lines on stdout, until the batch has ended; those that failed in `errors`."""
    with Client() as client, ExitStack() as stack:
        handle = client.batches(batch_id)
        created = handle.progress.created_at
        other = stack.enter_context(open(errors, "wb")) if errors else None
        for piece in handle.left_out():
            _put(piece, other)
        for result in handle.results(order):
            line = output_line(batch_id, created, result)
            _put(line, None if result.response.success else other)
    return 0


def _put(line: bytes, file: BinaryIO | None) -> None:
    if file is None:
        write(line.decode())
    else:
        file.write(line)


def _opened(handle: BatchHandle, *, detach: bool, as_json: bool) -> int:
    if as_json:
        write_json(_document(handle.progress))
    else:
        write(f"{handle.batch_id}\n")
    return 0 if detach else _watched(handle, as_json=as_json)


def _watched(handle: BatchHandle, *, as_json: bool) -> int:
    """Follow it to its end; 0 if every line was answered."""
    try:
        view = follow(handle)
    except KeyboardInterrupt:
        note(f"the batch goes on: palaver batch status --follow {handle.batch_id}")
        return 1
    if as_json:
        write_json(_document(view))
    else:
        note(f"{view.status} · {describe(view)}")
        if view.error is not None:
            complain(f"batch {handle.batch_id}: {describe_error(view.error)}")
    return 0 if view.counts.completed == view.batch.total else 1


def _refused(error: BatchInputError) -> int:
    """Each wrong line on a line of its own, as far as the error lists them."""
    for problem in error.problems:
        note(f"line {problem['line']}: {one_line(problem['message'])}")
    if error.count > len(error.problems):
        note(f"and {error.count - len(error.problems)} more")
    complain(
        f"{'1 line' if error.count == 1 else f'{error.count} lines'} cannot be used, and nothing was stored"
    )
    return exit_code(error)


def _document(view: BatchView) -> dict[str, Any]:
    return {"batch_id": view.batch.batch_id, **view.model_dump(mode="json")}


def _print(view: BatchView) -> None:
    batch = view.batch
    rows = [
        ("batch", batch.batch_id),
        ("status", view.status),
        ("lines", describe(view)),
        ("running", f"{view.running} in {view.drivers} workers" if not view.status.ended else ""),
        ("created", _moment(view.created_at)),
        ("expires", "" if view.status.ended else _moment(view.expires_at)),
        ("ended", _moment(view.ended_at)),
        ("retry of", batch.retry_of or ""),
        ("error", describe_error(view.error) if view.error else ""),
    ]
    write(columns([(dim(name.ljust(8)), value) for name, value in rows if value], indent=""))


def _moment(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
