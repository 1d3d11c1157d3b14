"""Output that nobody takes: a closed stdout, a full disk, a reader that has gone."""

import os
import subprocess
from dataclasses import replace

import pytest

from tests.integration.cli.shell import PALAVER, Dev, Screen, Shell


def piped(shell: Shell, *words: str, to: str) -> subprocess.CompletedProcess[str]:
    """`palaver WORDS` with its streams as the shell's words behind it say."""
    process = shell.start(*words, command=("sh", "-c", f'"$@" {to}', "sh", *PALAVER))
    with process:
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.mark.parametrize("words", [["schema"], ["--help"], ["job", "--help"]], ids=" ".join)
@pytest.mark.parametrize(
    ("to", "code", "told"),
    [
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        (">/dev/full", 2, "palaver: [Errno 28] No space left on device\n"),
        (">/dev/full 2>/dev/full", 2, ""),
    ],
)
def test_an_answer_that_nobody_takes(shell: Shell, words: list[str], to: str, code: int, told: str) -> None:
    done = piped(shell, *words, to=to)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", told)


@pytest.mark.parametrize("words", [["schema"], ["schema", "--json"]], ids=" ".join)
def test_a_reader_that_has_enough_is_no_failure(shell: Shell, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with shell.start(*words, stdout=writer) as process:
        os.close(writer)
        told = process.communicate(timeout=60)[1]
    assert (process.returncode, told) == (0, "")


@pytest.mark.redis
@pytest.mark.worker
@pytest.mark.xdist_group("palaver-dev")
def test_an_answer_that_the_locale_has_no_signs_for(dev: Dev) -> None:
    shell = Shell(dev.shell.folder, {"PYTHONIOENCODING": "ascii"})
    assert shell.run("chat", "é 漢字 ☂").stdout == "é 漢字 ☂\n"
    screen = Screen(replace(dev, shell=shell), "chat", "e 漢字 ☂")
    assert screen.end() == 0
    assert "e ?? ?\n" in screen.shown


def test_a_failure_that_nobody_can_be_told(shell: Shell) -> None:
    assert piped(shell, "nonsense", to=">&- 2>&-").returncode == 2
    assert piped(shell, "nonsense", to="2>/dev/full").returncode == 2


def test_a_message_from_a_closed_stdin_is_empty(shell: Shell) -> None:
    done = piped(shell, "chat", "-", to="<&-")
    assert (done.returncode, done.stderr) == (2, "palaver: messages: empty message\n")


@pytest.mark.redis
@pytest.mark.worker
@pytest.mark.xdist_group("palaver-dev")
def test_a_chat_without_stdout_says_how_it_ended(dev: Dev) -> None:
    done = piped(dev.shell, "chat", "hi", to=">&-")
    assert done.returncode == 0
    assert done.stderr.startswith("scripted/echo · ")
    done = piped(dev.shell, "chat", "hi", to=">/dev/full")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
