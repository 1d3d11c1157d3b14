"""`palaver batch` against a running `palaver dev`."""

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from tests.integration.cli.shell import Dev, Inside, Screen, Shell
from tests.pages import program
from tests.processes import ROOT

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


def test_all_wrong_lines_are_told_at_once_and_nothing_is_stored(served: Inside, tmp_path: Path) -> None:
    path = lines(tmp_path / "in.jsonl", openai("a", ""), "{", openai("b", "fine"), openai("b", "twice"))
    done = served.run("batch", "submit", path, "--key", "wrong")
    assert (done.returncode, done.stdout) == (2, "")
    told = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in told] == ["line 1", "line 2", "line 4", "palaver"]
    assert told[-1] == "palaver: 3 lines cannot be used, and nothing was stored"
    one = served.run("batch", "submit", "-", stdin="{")
    assert one.stderr.endswith("\npalaver: 1 line cannot be used, and nothing was stored\n")
    done = served.run("batch", "submit", "-", "--json", stdin=Path(path).read_text())
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"], error["details"]["count"]) == (2, "batch_input", 3)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("submit", "not-there.jsonl"), 2, "palaver: not-there.jsonl cannot be read"),
        (("submit", "-", "--window", "0"), 2, "--window"),
        (("submit", "-", "--hours", "0"), 2, "--hours"),
        (("submit", "-"), 2, "must not be empty"),
        (("status", "nothing"), 2, "no batch"),
        (("results", "nothing"), 2, "no batch"),
        (("cancel", "no thing"), 2, "batch_id"),
        (("retry", "nothing"), 2, "no batch"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    served: Inside, words: tuple[str, ...], code: int, told: str
) -> None:
    done = served.run("batch", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert told in done.stderr


def test_a_file_becomes_answers_and_errors(served: Inside, tmp_path: Path) -> None:
    failing = json.dumps({"fail": {"status": 400}})
    path = lines(tmp_path / "in.jsonl", openai("a", "one"), "{", openai("c", failing), '"four"')
    done = served.run("batch", "submit", path, "--skip-invalid", "--model", "scripted/echo")
    assert done.returncode == 1, done.stderr
    assert "completed · 2 of 3 answered, 1 failed, 1 left out" in done.stderr
    batch_id = done.stdout.strip()
    errors = tmp_path / "errors.jsonl"
    shown = served.run("batch", "results", batch_id, "--errors", str(errors))
    answers = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [line["custom_id"] for line in answers] == ["a", "line-4"]
    assert answers[0]["response"]["body"]["choices"][0]["message"]["content"] == "one"
    told = [json.loads(line) for line in errors.read_text().splitlines()]
    assert [(line["custom_id"], line["response"] is None) for line in told] == [(None, True), ("c", False)]
    stored = served.folder / ".palaver/files/batches" / batch_id
    for name, ours in (("output", answers), ("errors", told)):
        theirs = [json.loads(line) for line in (stored / f"{name}.jsonl").read_text().splitlines()]
        assert sorted(theirs, key=lambda line: line["id"]) == sorted(ours, key=lambda line: line["id"])

    again = served.run("batch", "retry", batch_id, "--json")
    first, last = (json.loads(line) for line in again.stdout.splitlines())
    assert again.returncode == 1
    assert first["batch"]["retry_of"] == batch_id
    assert (last["status"], last["counts"]) == ("completed", {"total": 1, "completed": 0, "failed": 1})


def test_a_batch_goes_on_when_its_follower_leaves_and_is_cancelled_on_demand(
    dev: Dev, served: Inside, tmp_path: Path
) -> None:
    slow = json.dumps({"n": 10_000})
    path = lines(tmp_path / "in.jsonl", openai("quick", "one"), *(openai(str(n), slow) for n in range(20)))
    screen = Screen(dev, "batch", "submit", path, "--window", "4")
    screen.until("1/21")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 1
    told = re.search(r"the batch goes on: palaver batch status --follow ([0-9a-f-]+)", screen.shown)
    assert told, screen.shown
    batch_id = told[1]
    seen = json.loads(served.run("batch", "status", batch_id, "--json").stdout)
    assert seen["status"] == "in_progress"
    assert 1 <= seen["running"] <= 4
    (open_batch,) = json.loads(served.run("status", "--quick", "--json").stdout)["batches"]
    assert open_batch == {"batch_id": batch_id, "status": "in_progress", "done": 1, "failed": 0, "total": 21}
    done = served.run("batch", "cancel", batch_id)
    assert (done.returncode, done.stdout) == (0, "cancelled\n")
    kept = served.run("batch", "results", batch_id)
    assert [json.loads(line)["custom_id"] for line in kept.stdout.splitlines()] == ["quick"]
    assert "20 not done" in served.run("batch", "status", batch_id).stdout


def test_who_leaves_while_a_batch_is_opened_is_told_where_to_find_it(
    dev: Dev, served: Inside, tmp_path: Path
) -> None:
    path = lines(tmp_path / "in.jsonl", openai("a", json.dumps({"endless": True})))
    with Proxy(dev.redis_port) as proxy:
        files = f"file://{dev.shell.folder}/.palaver/files"
        patient = {"PALAVER_REDIS_URL": proxy.url, "PALAVER_CONNECT_SECONDS": "60"}
        shell = Shell(dev.shell.folder, {**patient, "PALAVER_FILES_URL": files})
        trap = proxy.hold("batch_open")
        with shell.start("batch", "submit", path) as leaving:
            trap.wait()
            leaving.send_signal(signal.SIGINT)
            told = leaving.communicate(timeout=30)[1]
    assert leaving.returncode == 1
    assert told == "left before the batch's id was known; if it was opened it goes on: palaver status\n"
    (found,) = json.loads(served.run("status", "--quick", "--json").stdout)["batches"]
    assert served.run("batch", "cancel", found["batch_id"]).stdout == "cancelled\n"


def test_the_page_s_program_answers(dev: Dev) -> None:
    page = ROOT / "producer/palaver/producer/batches/README.md"
    command = (sys.executable, "-c", program(page, "client.batch"))
    with dev.shell.start(command=command) as running:
        said, complaints = running.communicate(timeout=60)
    assert (running.returncode, complaints) == (0, "")
    *answers, counts = said.splitlines()
    assert answers == ["line-1 What is tea?", "line-2 What is cake?"]
    assert "completed=2" in counts
