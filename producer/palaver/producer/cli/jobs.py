"""`palaver job show|cancel|retry`."""

import contextlib
import time
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from palaver.producer import Client
from palaver.producer.cli.failures import report
from palaver.producer.cli.terminal import columns, dim, harmless, one_line, seconds, write, write_json
from palaver.producer.cli.transcript import describe_error, describe_usage
from palaver.shared.errors import JobError, PalaverError, ServiceUnavailableError
from palaver.shared.ids import check_job_id
from palaver.shared.ledger import JobView, Prospect

CANCEL_WAITS = 10.0  # seconds
DEFAULT_MODEL = "default"
"""What is shown for a job that asks for no model."""


def show(job_id: str, *, as_json: bool) -> int:
    """What the ledger knows of a job."""
    with Client() as client:
        view = client.job(job_id).view()
    if as_json:
        write_json(_document(view))
    else:
        _print(view)
    return 0


def cancel(job_id: str, *, as_json: bool) -> int:
    """Ask the job to stop and wait for its end; an ended one answers with how it ended."""
    with Client() as client:
        handle = client.job(job_id)
        if not handle.cancel().ended:
            with contextlib.suppress(JobError):  # its end, or a worker that takes longer
                handle.result(timeout=CANCEL_WAITS)
        view = handle.view()
    if as_json:
        write_json(_document(view))
    else:
        write(f"{view.status}\n" if view.status.ended else f"{view.status}, asked to stop\n")
    return 0


def retry(job_ids: Collection[str], *, as_json: bool) -> int:
    """Do jobs again: one line for each, old and new. 1 if there was one that could not be, 2 if nobody
    knows one.
    """
    for job_id in job_ids:
        check_job_id(job_id)
    code = 0
    with Client() as client:
        for job_id in job_ids:
            try:
                again = client.retry(job_id).view()
            except ServiceUnavailableError:
                raise
            except PalaverError as error:
                code = max(code, report(error, as_json=as_json, about=job_id))
            else:
                _print_retry(job_id, again, as_json=as_json)
    return code


def _print_retry(job_id: str, again: JobView, *, as_json: bool) -> None:
    if as_json:
        ids = {"job_id": again.job_id, "retry_of": job_id, "session_id": again.session_id}
        write_json({**ids, "status": again.status})
    else:
        # Of a repeated retry it says what the first one came to.
        write(f"{job_id} → {again.job_id}" + (f" ({again.status})" if again.status.ended else "") + "\n")


def _document(view: JobView) -> dict[str, Any]:
    response, error = view.response, view.error
    return {
        "job_id": view.job_id,
        "session_id": view.session_id,
        "status": view.status,
        "model": _model(view),
        "attempt": view.attempt,
        "failures": view.failures,
        "position": view.position,
        "gate": view.gate,
        "prospect": asdict(view.prospect) if view.prospect else None,
        "created": view.created,
        "started": view.started,
        "ended": view.ended,
        "time_left": view.time_left,
        "cursor": view.cursor,
        "worker": view.worker,
        "webhook": view.webhook,
        "text": view.text,
        "response": response.model_dump(mode="json", exclude_none=True) if response else None,
        "error": error.model_dump(mode="json", exclude_none=True) if error else None,
    }


def _print(view: JobView) -> None:
    rows = [
        ("job", view.job_id),
        ("session", view.session_id),
        ("status", _status(view)),
        ("model", one_line(_model(view))),
        ("attempt", str(view.attempt) + (f" ({view.failures} provider errors)" if view.failures else "")),
        ("worker", one_line(view.worker or "")),
        ("webhook", _webhook(view.webhook)),
        ("created", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(view.created))),
        ("took", seconds(view.ended - view.started) if view.started and view.ended else ""),
        ("tokens", describe_usage(view.response.usage) if view.response else ""),
        ("error", describe_error(view.error) if view.error else ""),
    ]
    write(columns([(dim(name.ljust(7)), value) for name, value in rows if value], indent=""))
    text = view.response.content if view.response else view.text
    if text:
        write(f"\n{harmless(text)}\n")


def _status(view: JobView) -> str:
    if view.position:
        return f"{view.status}, {view.position} ahead in its session"
    if view.gate is not None:
        return f"{view.status}, {_waits(view.gate, view.prospect)}"
    if view.prospect is not None:
        return f"{view.status}, {_ahead(view.prospect)}"
    return str(view.status)


def _waits(gate: str, prospect: Prospect | None) -> str:
    waits = f"waiting for {one_line(gate)}"
    if prospect is None:
        return waits
    return f"{waits}, {_ahead(prospect)}"


def _ahead(prospect: Prospect) -> str:
    ahead = f"{prospect.position} ahead"
    return ahead if prospect.seconds is None else f"{ahead}, about {seconds(prospect.seconds)}"


def _webhook(standing: str | None) -> str:
    return f"failed {standing} times" if standing and standing.isdigit() else standing or ""


def _model(view: JobView) -> str:
    """The one that answered, else those that were asked for."""
    response = view.response
    answered = "/".join(filter(None, (response.provider, response.model))) if response else ""
    return answered or view.model or DEFAULT_MODEL
