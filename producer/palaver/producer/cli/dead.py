"""`palaver dead list|retry|drop`: jobs that failed or expired. Shows no word of prompts and answers; what a
provider said of a job, which may quote them, `palaver job show` has.
"""

from dataclasses import asdict
from typing import Any

from palaver.producer import Client
from palaver.producer.cli import jobs
from palaver.producer.cli.failures import report
from palaver.producer.cli.terminal import columns, note, one_line, seconds, write, write_json
from palaver.shared.errors import ErrorInfo, JobNotFoundError, ValidationError
from palaver.shared.ids import check_job_id
from palaver.shared.ledger import DeadLetter

HEADINGS = (
    "JOB",
    "SESSION",
    "STATUS",
    "MODEL",
    "REASON",
    "ATTEMPTS",
    "FAILURES",
    "DEATHS",
    "AGE",
    "LAST ERROR",
)


def show(limit: int, *, as_json: bool) -> int:
    """The latest dead letters, and whether there are more."""
    with Client() as client:
        letters = client.dead(limit + 1)
    shown = letters[:limit]
    if as_json:
        for letter in shown:
            write_json(_document(letter))
    elif shown:
        write(columns([HEADINGS, *map(_row, shown)], indent=""))
    else:
        note("no dead letters")
    if len(letters) > limit:
        note(f"there are more than {limit}: --limit shows them")
    return 0


def retry(job_ids: list[str], *, everything: bool, as_json: bool) -> int:
    """Do these jobs, or all dead letters, again; the exit code is that of `jobs.retry`."""
    _check(job_ids, everything=everything)
    if everything:
        with Client() as client:
            # The oldest first: within a session they come back in the order in which they ended.
            job_ids = [letter.job_id for letter in reversed(client.dead())]
    return jobs.retry(dict.fromkeys(job_ids), as_json=as_json)


def drop(job_ids: list[str], *, everything: bool, as_json: bool) -> int:
    """Take these, or all, off the list. 2 if there was one that was not on it."""
    _check(job_ids, everything=everything)
    code = 0
    with Client() as client:
        letters = client.dead()
        listed = {letter.job_id: letter.session_id for letter in letters}
        for job_id in listed if everything else dict.fromkeys(job_ids):
            if job_id in listed and client.ledger.drop_dead([(listed[job_id], job_id)]):
                _print_dropped(job_id, as_json=as_json)
            elif not everything:
                missing = JobNotFoundError(f"job {job_id} is no dead letter", job_id=job_id)
                code = report(missing, as_json=as_json)
    return code


def _check(job_ids: list[str], *, everything: bool) -> None:
    if everything == bool(job_ids):
        raise ValidationError("name either jobs or --all")
    for job_id in job_ids:
        check_job_id(job_id)


def _print_dropped(job_id: str, *, as_json: bool) -> None:
    if as_json:
        write_json({"job_id": job_id, "dropped": True})
    else:
        write(f"{job_id}\n")


def _document(letter: DeadLetter) -> dict[str, Any]:
    told = letter.error.model_dump(mode="json", exclude_none=True) if letter.error else None
    model = letter.model or jobs.DEFAULT_MODEL
    return {**asdict(letter), "model": model, "reason": letter.reason, "error": told}


def _row(letter: DeadLetter) -> tuple[str, ...]:
    return (
        letter.job_id,
        one_line(letter.session_id),
        letter.status,
        one_line(letter.model or jobs.DEFAULT_MODEL, 40),
        letter.reason,
        *(str(count) for count in (letter.attempts, letter.failures, letter.deaths)),
        seconds(letter.age),
        _error(letter.error) if letter.error else "",
    )


def _error(error: ErrorInfo) -> str:
    status = error.details.get("status_code")
    return f"HTTP {status}: {error.message}" if status else error.message
