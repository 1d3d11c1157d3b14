"""A line of the log is an event's name and its facts, under whatever formatter."""

import json
import logging
from typing import Any

import pytest

from palaver.workers.event_log import event_logger, json_formatter


def line(caplog: pytest.LogCaptureFixture, event: str, **facts: object) -> str:
    with caplog.at_level(logging.INFO):
        event_logger("palaver.workers.test").info(event, **facts)
    return caplog.records[-1].getMessage()


def test_facts_stand_behind_the_name_and_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    said = line(caplog, "job.ended", job_id="j1", error=None, model="a/b", jobs=3, delay=0.51234567)
    assert said == "job.ended job_id=j1 model=a/b jobs=3 delay=0.512346"
    assert caplog.records[-1].__dict__["job_id"] == "j1"
    assert caplog.records[-1].filename == "test_event_log.py"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a\nb", r'"a\nb"'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('"', r'"\""'),
        ("", '""'),
        ("\x1b[31m", r'"\u001b[31m"'),
        ("é\u2028", r'"\u00e9\u2028"'),
        ("100%s", "100%s"),
    ],
)
def test_no_value_forges_a_line(caplog: pytest.LogCaptureFixture, value: str, told: str) -> None:
    assert line(caplog, "x", fact=value) == f"x fact={told}"


def test_a_long_value_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    assert len(line(caplog, "x", fact="a" * 10_000)) < 300


def test_lines_below_the_name_stay_below(caplog: pytest.LogCaptureFixture) -> None:
    assert line(caplog, "x\n  here\n  there", fact=1) == "x fact=1\n  here\n  there"


def as_json(record: logging.LogRecord) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json_formatter().format(record))
    assert told.pop("timestamp").endswith("Z")
    return told


def test_an_event_as_json(caplog: pytest.LogCaptureFixture) -> None:
    line(caplog, "x.failed\n  here\n  there", job_id="j1", error=None, seconds=0.25, said="a\nb" * 100)
    assert as_json(caplog.records[-1]) == {
        "event": "x.failed",
        "level": "info",
        "logger": "palaver.workers.test",
        "job_id": "j1",
        "seconds": 0.25,
        "said": "a\nb" * 100,
        "frames": "  here\n  there",
    }


def test_a_line_of_somebody_else_as_json(caplog: pytest.LogCaptureFixture) -> None:
    """Without its record's attributes: Celery puts a task's arguments there."""
    with caplog.at_level(logging.INFO):
        logging.getLogger("celery").info("Task %s received", "t1", extra={"data": {"args": ["a prompt"]}})
    told = as_json(caplog.records[-1])
    assert told == {"event": "Task t1 received", "level": "info", "logger": "celery"}


def test_an_exception_as_json(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        event_logger("palaver.workers.test").exception("x.failed", count=1)
    told = as_json(caplog.records[-1])
    assert told["event"] == "x.failed"
    assert told["exception"].splitlines()[-1] == "ValueError: broken"
