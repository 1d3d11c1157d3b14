"""The README as a newcomer takes it: its snippets run as printed and do what it says."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import redis

from palaver.producer import Client
from palaver.shared.events import StreamEnd
from palaver.shared.settings import Settings
from tests import pages
from tests.processes import ROOT, Processes, Running
from tests.servers import RedisServer, eventually, missing

README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippet(language: str) -> str:
    """The only block of that language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        missing(f"no {name} on this machine")
    return path


def test_the_snippets_are_as_short_as_promised() -> None:
    assert len([line for line in snippet("python").splitlines() if line.strip()]) <= 15
    assert len(snippet("js").splitlines()) <= 10


def test_a_producer_and_three_readers(
    redis_server: RedisServer,
    worker: Callable[..., Running],
    processes: Processes,
    palaver_env: dict[str, str],
    tmp_path: Path,
) -> None:
    """Python hands in a job and reads it; redis-cli listens; JavaScript comes before, redis-cli after."""
    worker()
    redis_cli = [program("redis-cli"), "-p", str(redis_server.port)]
    script = tmp_path / "reader.js"
    script.write_text(snippet("js").replace("6379", str(redis_server.port)))
    subscribe, everything, later = (
        [word.strip("'") for word in line.split()[1:]] for line in snippet("sh").splitlines()
    )

    early = processes.start((program("node"), script, "s1"), name="node")
    live = processes.start((*redis_cli, *subscribe), name="subscribe")
    live.wait_for("subscribe")
    producer = processes.start((sys.executable, "-c", snippet("python")), name="producer", env=palaver_env)

    assert producer.wait() == 0, producer.output
    producer.drained()
    assert "The quick brown fox" in producer.output
    assert "job_queued" in producer.output
    assert "stream_end" in producer.lines[-1]
    assert early.wait() == 0, early.output
    assert early.wait_for("The quick brown fox")
    live.wait_for("stream_end")

    whole = processes.start((*redis_cli, *everything), name="log")
    assert whole.wait() == 0
    assert events(whole) == events(live)
    rest = processes.start((*redis_cli, *later), name="rest")
    assert rest.wait() == 0
    assert events(rest) == events(whole)[2:]


def test_a_conversation_without_any_configuration(
    worker: Callable[..., Running], processes: Processes, palaver_env: dict[str, str]
) -> None:
    worker()
    shown = pages.program(ROOT / "README.md", "Conversations")
    running = processes.start((sys.executable, "-c", shown), name="program", env=palaver_env)
    assert running.wait() == 0, running.output
    running.drained()
    assert "agent I need help" in running.output


def test_the_plain_celery_client(
    redis_server: RedisServer,
    worker: Callable[..., Running],
    processes: Processes,
    palaver_env: dict[str, str],
) -> None:
    worker()
    shown = pages.program(ROOT / "README.md", "theirs-1").replace(
        "redis://127.0.0.1:6379/0", redis_server.url
    )
    running = processes.start((sys.executable, "-c", shown), name="program")
    assert running.wait() == 0, running.output
    with Client(Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])) as client:
        end = next(event for event in client.events("theirs") if isinstance(event, StreamEnd))
        assert end.job_id == "theirs-1"
        assert client.job("theirs-1").result().content == "Hello"


def test_the_reader_in_javascript_goes_on_after_a_lost_connection(
    redis_server: RedisServer, processes: Processes, tmp_path: Path
) -> None:
    """Not a word is lost or repeated, in whatever pieces it comes."""
    script = tmp_path / "reader.js"
    script.write_text(snippet("js").replace("6379", str(redis_server.port)))
    reader = processes.start((program("node"), script, "s1"), name="node")
    # The separator ends a line to JavaScript and not to Redis; the last piece takes several reads.
    pieces = ["one\n", "two ☂ 雨\u2028の日も\n", "three\n", "👩‍🚀" * 7_000 + "\n"]
    with redis_server.client() as client:
        log = "palaver:{s1}:events"
        for seq, piece in enumerate(pieces, start=1):
            client.xadd(log, {"e": event(seq, "text_chunk", {"delta": piece})}, id=f"{seq}-0")
            reader.wait_for(f"^{piece[:3]}")
            assert eventually(lambda: client.client_kill_filter(_id=blocked(client)) == 1)
        client.xadd(log, {"e": event(len(pieces) + 1, "stream_end", {})}, id=f"{len(pieces) + 1}-0")
    assert reader.wait() == 0, reader.output
    reader.drained()
    # Beside the text it may have told of a connection that was reset.
    read = [f"{line}\n" for line in reader.lines if f"{line}\n" in pieces]
    assert [piece[:9] for piece in read] == [piece[:9] for piece in pieces]


def event(seq: int, kind: str, data: dict[str, str]) -> str:
    return json.dumps({"seq": seq, "type": kind, "data": data}, ensure_ascii=False, separators=(",", ":"))


def blocked(client: redis.Redis) -> str:
    """The connection that waits for the next event."""
    found = [each["id"] for each in client.client_list() if each["cmd"] == "xread"]
    return found[0] if found else "0"


def events(running: Running) -> list[dict[str, object]]:
    running.drained()
    return [json.loads(line) for line in running.lines if line.startswith("{")]


def test_every_link_leads_somewhere() -> None:
    rooms = [each for each in ROOT.iterdir() if each.is_dir() and not each.name.startswith(".")]
    for page in [ROOT / "README.md", *(page for room in rooms for page in room.glob("**/README.md"))]:
        if "node_modules" in page.parts:
            continue
        for target, place in re.findall(
            r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")
        ):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.relative_to(ROOT)}: {target}"
            assert not place or place in places(there), f"{page.relative_to(ROOT)}: {target}#{place}"


def places(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_it_says_of_make_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?\bmake ([a-z]+)\b`?", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
