"""A line of the log is an event's name and its facts, under whatever formatter."""

import logging

import pytest

from palaver.workers.event_log import event_logger


def line(caplog: pytest.LogCaptureFixture, event: str, **facts: object) -> str:
    with caplog.at_level(logging.INFO):
        event_logger("palaver.workers.test").info(event, extra=facts)
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
