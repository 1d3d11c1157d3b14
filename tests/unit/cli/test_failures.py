"""Every failure is one line and an exit code."""

import io
import json
import os
import sys
from importlib.metadata import version

import pytest

from palaver.producer.cli import main
from palaver.producer.cli.failures import exit_code, report
from palaver.shared.errors import (
    BrokerUnavailableError,
    JobNotFoundError,
    LedgerUnavailableError,
    RateLimitError,
    ValidationError,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValidationError("no"), 2),
        (JobNotFoundError("no"), 2),
        (PermissionError(13, "Permission denied", ".palaver"), 2),
        (LedgerUnavailableError("no"), 3),
        (BrokerUnavailableError("no"), 3),
        (RateLimitError("no"), 1),
    ],
)
def test_exit_codes(error: Exception, code: int) -> None:
    assert exit_code(error) == code


def test_a_message_of_several_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    report(ValidationError("first\n  second"), as_json=False)
    assert capsys.readouterr().err == "palaver: first second\n"


def test_as_json_it_is_an_error_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ValidationError("wrong", param="model"), as_json=True) == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["type"], error["param"], error["message"]) == ("ValidationError", "model", "wrong")


@pytest.mark.parametrize("as_json", [False, True])
def test_a_misspelt_setting_is_told_beside_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    monkeypatch.setenv("PALAVER_CONCURENCY", "5")
    assert main(["schema", "--json"] if as_json else ["schema"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)
    warning = json.loads(err)["warning"]["message"] if as_json else err
    assert "PALAVER_CONCURENCY (is it PALAVER_CONCURRENCY?)" in warning


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nonsense"], "No such command 'nonsense'; see palaver --help"),
        (["chat"], "see palaver chat --help"),
        (["chat", "hi", "--nonsense"], "--nonsense"),
        (["tail", "s1", "--after", "-1"], "--after"),
        (["job", "show"], "see palaver job show --help"),
        (["job", "retry", "no such id"], "job_id"),
        (["dead", "retry"], "either jobs or --all"),
        (["dead", "drop", "0199", "--all"], "either jobs or --all"),
        (["dead", "drop", "no such id"], "job_id"),
        (["dead", "list", "--limit", "0"], "--limit"),
        (["schema", "--check", "--write"], "exclude each other"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert main([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["message"]


def test_help_is_shown_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    for command in ("dev", "worker", "chat", "tail", "job", "dead", "status", "schema"):
        assert f"\n  {command} " in out


def test_which_version_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"palaver {version('palaver')}\n"


@pytest.mark.parametrize("where", ["stdin", "an argument"])
def test_text_that_is_not_utf_8_is_said_to_be_none(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\xff")))
    assert main(["chat", "-" if where == "stdin" else os.fsdecode(b"ab\xff")]) == 2
    assert capsys.readouterr().err == "palaver: message: is not UTF-8 at byte 3\n"
