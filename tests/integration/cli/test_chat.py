"""`palaver chat`, `tail` and `job` against a running `palaver dev`."""

import json
import re
import signal
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from tests.integration.cli.shell import Dev, Inside, Screen, Shell

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("palaver-dev")]

ESCAPE = re.compile(r"\x1b\[[02]m")  # faint, and back


def script(**fields: Any) -> str:
    return json.dumps(fields)


def events(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("palaver: ")
    return done.stderr


def test_a_pipe_gets_the_answer_and_nothing_else(dev: Dev) -> None:
    done = dev.shell.run("chat", script(text="one\n\ttwo \x1b[1m 漢字"), "--session", "pipe")
    assert (done.returncode, done.stdout) == (0, "one\n\ttwo \x1b[1m 漢字\n")
    for told in ("scripted/echo", " tokens", "first token ", " in all", "session pipe"):
        assert told in done.stderr


def test_a_message_from_stdin(served: Inside) -> None:
    assert served.run("chat", "-", stdin="from a file").stdout == "from a file\n"


def test_json_is_the_jobs_events(served: Inside) -> None:
    done = served.run("chat", "hello you", "--json")
    got = events(done)
    assert done.returncode == 0
    assert [event["seq"] for event in got] == list(range(1, len(got) + 1))
    assert [got[0]["type"], got[-1]["type"]] == ["job_queued", "stream_end"]
    assert "".join(event["data"].get("delta", "") for event in got) == "hello you"


def test_a_failed_job_is_exit_code_1_with_its_partial_text(served: Inside) -> None:
    done = served.run("chat", script(n=9, fail={"kind": "error", "status": 401, "after": 2}))
    assert done.returncode == 1
    assert "failed: AuthenticationError" in one_line(done)
    assert done.stdout == " w0 w1\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["chat", ""], "messages"),
        (["chat", "hi", "--model", "nobody/m"], "model"),
        (["chat", "hi", "--session", "a b"], "session_id"),
        (["job", "show", "unknown"], "unknown"),
        (["job", "cancel", "unknown"], "unknown"),
        (["tail", "a b"], "session_id"),
        (["tail", "s1", "--after", str(10**20)], "after"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(served: Inside, words: list[str], told: str) -> None:
    done = served.run(*words)
    assert done.returncode == 2
    assert told in one_line(done)


def test_a_tenants_session_is_gone_on_with_for_the_tenant(served: Inside) -> None:
    first = events(served.run("chat", "one", "-s", "of-acme", "--tenant", "acme", "--user", "ann", "--json"))
    on = events(served.run("chat", "two", "-s", "of-acme", "--tenant", "acme", "--json"))
    assert on[0]["seq"] == first[-1]["seq"] + 1
    again = served.run("job", "retry", on[0]["job_id"], "--json")
    assert (again.returncode, json.loads(again.stdout)["session_id"]) == (0, "of-acme")
    for words, whose in (((), "jobs without a tenant"), (("--tenant", "other"), "the tenant 'other'")):
        done = served.run("chat", "three", "-s", "of-acme", *words)
        assert done.returncode == 2
        assert f"session: is not one of {whose}: --tenant says whose it is" in one_line(done)


def test_a_terminal_shows_the_text_as_it_comes_and_no_model_controls_it(dev: Dev) -> None:
    deltas = ["\x1b]0;owned\x07", "first ", "\x1b[2J", "last"]
    screen = Screen(dev, "chat", script(deltas=deltas, rate=0.6))  # seconds from the first word to the last
    assert "last" not in screen.until("first")
    assert screen.end() == 0
    assert "␛]0;owned␇first ␛[2Jlast\n" in screen.shown
    assert "\x1b" not in ESCAPE.sub("", screen.shown)
    assert "first token" in screen.shown


def test_a_terminal_shows_reasoning_faintly(dev: Dev) -> None:
    screen = Screen(dev, "chat", script(text="Yes.", reasoning="Hm."))
    assert screen.end() == 0
    assert "\x1b[2mHm.\x1b[0m\n\nYes.\n" in screen.shown


def test_an_answer_that_begins_anew_is_seen_to_do_so(dev: Dev) -> None:
    cut = script(deltas=["Hello ", "you ", "there"], fail={"kind": "cut", "after": 2, "times": 1})
    screen = Screen(dev, "chat", cut, "--model", "anew/echo")
    assert screen.end() == 0
    text = ESCAPE.sub("", screen.shown)
    assert text.startswith("Hello you \n")
    assert "── the answer begins anew ──\nHello you there\n" in text


def test_ctrl_c_cancels_the_job_and_keeps_what_there_is(dev: Dev, served: Inside) -> None:
    screen = Screen(dev, "chat", script(endless=True, rate=20), "--session", "stopped")
    screen.until("w3")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 1
    assert "cancelling …" in screen.shown
    assert "cancelled · " in screen.shown
    end = events(served.run("chat", "--json", "again", "--session", "stopped"))[-1]
    assert end["data"]["status"] == "completed"


def test_ctrl_c_while_the_job_is_handed_in_cancels_it(dev: Dev) -> None:
    """The ledger has it, and its answer is on its way."""
    with Proxy(dev.redis_port) as proxy:
        patient = {"PALAVER_REDIS_URL": proxy.url, "PALAVER_CONNECT_SECONDS": "60"}
        shell = Shell(dev.shell.folder, patient)
        trap = proxy.hold("submit")
        screen = Screen(replace(dev, shell=shell), "chat", script(endless=True, rate=20))
        trap.wait()
        screen.process.send_signal(signal.SIGINT)
        screen.until("cancelling …")
        proxy.reset()  # so that it asks again
        assert screen.end() == 1
    assert "cancelled · " in screen.shown


def test_a_second_ctrl_c_leaves_while_the_job_is_handed_in(dev: Dev) -> None:
    with Proxy(dev.redis_port) as proxy:
        patient = {"PALAVER_REDIS_URL": proxy.url, "PALAVER_CONNECT_SECONDS": "600"}
        trap = proxy.hold("submit")
        shell = Shell(dev.shell.folder, patient)
        screen = Screen(replace(dev, shell=shell), "chat", script(endless=True, rate=20))
        trap.wait()
        screen.process.send_signal(signal.SIGINT)
        screen.until("cancelling …")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 130


def test_an_outage_is_told_on_a_line_of_its_own(dev: Dev) -> None:
    with dev.shell.start("chat", script(endless=True, rate=20), "--session", "outage") as chat:
        with Proxy(dev.redis_port) as proxy:
            shell = Shell(dev.shell.folder, {"PALAVER_REDIS_URL": proxy.url})
            screen = Screen(replace(dev, shell=shell), "tail", "outage")
            screen.until("w3")
        screen.until("reader_waits seconds=60")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0
        chat.send_signal(signal.SIGINT)
        chat.communicate(timeout=30)
    assert re.search(r"w\d+\nreader_waits seconds=60: The ledger at ", ESCAPE.sub("", screen.shown))


def test_job_show_and_cancel(served: Inside) -> None:
    job_id = events(served.run("chat", "hello", "--json"))[-1]["job_id"]
    shown = served.run("job", "show", job_id)
    assert shown.returncode == 0
    assert re.search(r"status +completed", shown.stdout)
    assert re.search(r"model +scripted/echo", shown.stdout)
    assert "hello" in shown.stdout
    document = json.loads(served.run("job", "show", job_id, "--json").stdout)
    assert (document["status"], document["response"]["content"]) == ("completed", "hello")
    assert document["model"] == "scripted/echo"
    assert served.run("job", "cancel", job_id).stdout == "completed\n"


def test_job_cancel_stops_a_running_job(dev: Dev, served: Inside) -> None:
    with dev.shell.start("chat", script(endless=True), "--json") as chat:
        assert chat.stdout is not None
        job_id = json.loads(chat.stdout.readline())["job_id"]
        assert served.run("job", "cancel", job_id).stdout == "cancelled\n"
        end = json.loads(chat.communicate(timeout=30)[0].splitlines()[-1])
    assert (end["type"], end["data"]["status"]) == ("stream_end", "cancelled")
    assert chat.returncode == 1


def test_tail_shows_what_was_and_what_comes(dev: Dev, served: Inside) -> None:
    served.run("chat", "before", "--session", "tailed")
    with dev.shell.start("tail", "tailed", "--json") as tail:
        assert tail.stdout is not None
        seen = [json.loads(tail.stdout.readline())]
        served.run("chat", "after", "--session", "tailed")
        while sum(event["type"] == "stream_end" for event in seen) < 2:
            seen.append(json.loads(tail.stdout.readline()))
        tail.send_signal(signal.SIGINT)
        assert tail.communicate(timeout=30) == ("", "")
    assert tail.returncode == 0
    assert [event["seq"] for event in seen] == list(range(1, len(seen) + 1))


def test_tail_of_a_session_that_nobody_began_says_so_and_waits(dev: Dev, served: Inside) -> None:
    with dev.shell.start("tail", "nobodys", "--json") as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stderr.readline().startswith("Nothing is known of the session nobodys yet")
        served.run("chat", "Hi", "--session", "nobodys")
        assert json.loads(tail.stdout.readline())["seq"] == 1
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=30)


def test_tail_after_a_seq_for_a_person(dev: Dev, served: Inside) -> None:
    served.run("chat", "one two", "--session", "person")
    screen = Screen(dev, "tail", "person", "--after", "3")
    screen.until("completed")
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 0
    text = ESCAPE.sub("", screen.shown)
    assert " two\n" in text
    assert "one" not in text


def test_status_is_healthy_with_a_worker(dev: Dev, served: Inside) -> None:
    done = served.run("status")
    assert done.returncode == 0, done.stderr
    for told in (dev.said["redis_url"], dev.said["worker"], "scripted", "normal"):
        assert told in done.stdout
    document = json.loads(served.run("status", "--json").stdout)
    assert document["healthy"] is True
    assert [worker["name"] for worker in document["workers"]] == [dev.said["worker"]]
    assert set(document["queues"]) >= {"palaver.resume", "palaver.normal"}
    healths = {profile["name"]: profile.get("health") for profile in document["profiles"]}
    assert healths["default"] is None  # an alias
    assert healths["scripted"]["worker"] == dev.said["worker"]
    assert healths["scripted"]["error"] is None


def test_a_file_goes_with_the_message(served: Inside) -> None:
    (served.folder / "menu.txt").write_text("A tea costs 3 euros.")
    done = served.run("chat", "How much?", "--file", "menu.txt")
    told = '<file name="menu.txt" type="text/plain">\nA tea costs 3 euros.\n</file>\n\nHow much?\n'
    assert (done.returncode, done.stdout) == (0, told), done.stderr
    assert list((served.folder / ".palaver" / "files" / "content").iterdir())


def test_a_file_that_is_not_there_is_told(served: Inside) -> None:
    done = served.run("chat", "How much?", "-f", "nowhere.txt")
    assert done.returncode == 2
    assert one_line(done).startswith("palaver: nowhere.txt cannot be read: ")


def test_of_several_files_the_one_that_is_refused_is_named(served: Inside) -> None:
    (served.folder / "menu.txt").write_text("A tea costs 3 euros.")
    (served.folder / "void.txt").touch()
    done = served.run("chat", "How much?", "-f", "menu.txt", "-f", "void.txt")
    assert (done.returncode, one_line(done)) == (2, "palaver: 'void.txt' is empty\n")
