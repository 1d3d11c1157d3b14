"""Events as a person reads them."""

from typing import Any

import pytest

from palaver.producer.cli.transcript import Transcript, describe_usage
from palaver.shared.events import parse_event
from palaver.shared.responses import Usage

Events = list[tuple[str, dict[str, Any]]]
ERROR = {"type": "RateLimitError", "code": "rate_limit", "message": "slow\ndown"}


def shown(
    events: Events, capsys: pytest.CaptureFixture[str], *, headers: bool = False, jobs: str = ""
) -> tuple[str, str]:
    transcript = Transcript(headers=headers)
    for index, (kind, data) in enumerate(events):
        job_id = jobs[index] if jobs else "j"
        transcript.show(
            parse_event({"seq": index + 1, "type": kind, "session_id": "s", "job_id": job_id, "data": data})
        )
    captured = capsys.readouterr()
    return captured.out, captured.err


def text(delta: str) -> tuple[str, dict[str, Any]]:
    return "text_chunk", {"delta": delta}


def end(status: str = "completed", **data: Any) -> tuple[str, dict[str, Any]]:
    return "stream_end", {"status": status, **data}


def test_the_text_and_nothing_else_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    events: Events = [("job_queued", {}), ("stream_start", {}), text("Hello"), text(" you\x1b[2J"), end()]
    assert shown(events, capsys) == ("Hello you␛[2J\n", "")


def test_an_answer_that_begins_anew_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    events: Events = [
        ("stream_start", {}),
        text("Hal"),
        ("stream_start", {"offset": 0}),
        text("Hello"),
        end(),
    ]
    out, err = shown(events, capsys)
    assert out == "Hal\nHello\n"
    assert err == "── the answer begins anew ──\n"


def test_an_answer_that_goes_on_is_not_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    events: Events = [("stream_start", {}), text("Hel"), ("stream_start", {"offset": 3}), text("lo"), end()]
    assert shown(events, capsys) == ("Hello\n", "")


def test_a_resync_shows_the_whole_text(capsys: pytest.CaptureFixture[str]) -> None:
    resync = ("resync", {"seq": 9, "text": "Hello", "status": "running"})
    out, err = shown([text("Hel"), resync, text(" you"), end()], capsys)
    assert out == "Hel\nHello you\n"
    assert "the whole answer so far" in err
    assert shown([resync, end()], capsys) == ("Hello\n", "")


def test_reasoning_stands_apart_from_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    events: Events = [
        ("reasoning_chunk", {"delta": "Hm"}),
        ("reasoning_chunk", {"delta": "."}),
        text("Yes"),
        end(),
    ]
    assert shown(events, capsys) == ("Hm.\n\nYes\n", "")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (("job_queued", {"position": 2}), "waiting: 2 ahead in this session"),
        (("warning", {"code": "x", "param": "seed", "message": "left out"}), "seed: left out"),
        (("retry", {"error": ERROR, "delay": 0.5}), "RateLimitError: slow down; again in 0.50 s"),
        (("retry", {"error": ERROR, "model": "a/b"}), "RateLimitError: slow down; again at once with a/b"),
        (("retry", {"error": ERROR, "model": "\x1b[J"}), "RateLimitError: slow down; again at once with ␛[J"),
        (("tool_call", {"id": "1", "name": "add", "arguments": {"a": 1}}), "calls add {'a': 1}"),
        (("tool_result", {"id": "1", "content": "3"}), "answered: 3"),
        (("widget", {"widget_type": "chart"}), "[chart]"),
        (("content", {"content_type": "image/png"}), "[image/png]"),
        (("progress", {"done": 1, "total": 3, "message": "pages"}), "1/3 pages"),
        (("of_the_future", {"x": 1}), "[of_the_future]"),
    ],
)  # fmt: skip
def test_everything_else_is_a_note_on_its_own_line(
    event: tuple[str, dict[str, Any]], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown([text("a"), event, text("b"), end()], capsys) == ("a\nb\n", f"{line}\n")


def test_a_session_announces_its_jobs_and_their_ends(capsys: pytest.CaptureFixture[str]) -> None:
    start = ("stream_start", {"model": "m", "provider": "p"})
    usage = {"input_tokens": 1, "output_tokens": 2}
    events = [start, text("a"), text("b"), end(usage=usage), end("failed", error=ERROR)]
    out, err = shown(events, capsys, headers=True, jobs="112 12".replace(" ", ""))
    assert out == "a\nb\n"
    assert err.splitlines() == [
        "── job 1 ──", "p/m", "── job 2 ──", "── job 1 ──", "completed · 1 + 2 tokens",
        "── job 2 ──", "failed: RateLimitError: slow down",
    ]  # fmt: skip


def test_what_is_said_of_the_session_has_no_header(capsys: pytest.CaptureFixture[str]) -> None:
    warning = ("warning", {"code": "jobs_forgotten", "param": "after", "message": "Others may have ended."})
    transcript = Transcript(headers=True)
    for job_id, (kind, data) in (("", warning), ("1", text("a"))):
        event = {"seq": 1, "type": kind, "session_id": "s", "job_id": job_id, "data": data}
        transcript.show(parse_event(event))
    assert capsys.readouterr().err.splitlines() == ["after: Others may have ended.", "── job 1 ──"]


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"input_tokens": 1, "output_tokens": 2, "cost": 0.00012}, "1 + 2 tokens, $0.000120"),
        (
            {"input_tokens": 1, "output_tokens": 2, "cost": 0.0, "from_cache": True},
            "1 + 2 tokens, $0.000000, from the cache",
        ),
        ({"input_tokens": 1, "output_tokens": 2, "estimated": True}, "about 1 + 2 tokens"),
        ({"total_tokens": 3}, "3 tokens"),
        ({}, ""),
    ],
)
def test_usage_says_what_is_known_of_it(usage: dict[str, Any], told: str) -> None:
    assert describe_usage(Usage(**usage)) == told
