"""`palaver batch` against a running `palaver dev`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.shell import Dev

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("palaver-dev")]


def openai(custom_id: str, text: str, **body: Any) -> str:
    messages = [{"role": "user", "content": text}]
    whole = {"model": "scripted/echo", "messages": messages, **body}
    return json.dumps(
        {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": whole}
    )


def lines(path: Path, *entries: str) -> str:
    path.write_text("".join(f"{entry}\n" for entry in entries))
    return str(path)


def test_all_wrong_lines_are_told_at_once_and_nothing_is_stored(dev: Dev, tmp_path: Path) -> None:
    path = lines(tmp_path / "in.jsonl", openai("a", ""), "{", openai("b", "fine"), openai("b", "twice"))
    done = dev.shell.run("batch", "submit", path, "--key", "wrong")
    assert (done.returncode, done.stdout) == (2, "")
    told = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in told] == ["line 1", "line 2", "line 4", "palaver"]
    assert told[-1] == "palaver: 3 lines cannot be used, and nothing was stored"
    done = dev.shell.run("batch", "submit", "-", "--json", stdin=Path(path).read_text())
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"], error["details"]["count"]) == (2, "batch_input", 3)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("submit", "not-there.jsonl"), 2, "cannot be read"),
        (("submit", "-", "--window", "0"), 2, "--window"),
        (("submit", "-", "--hours", "0"), 2, "completion_window"),
        (("submit", "-"), 2, "must not be empty"),
        (("status", "nothing"), 2, "no batch"),
        (("results", "nothing"), 2, "no batch"),
        (("cancel", "no thing"), 2, "batch_id"),
        (("retry", "nothing"), 2, "no batch"),
    ],
)
def test_what_cannot_be_done_is_one_line(dev: Dev, words: tuple[str, ...], code: int, told: str) -> None:
    done = dev.shell.run("batch", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert told in done.stderr
