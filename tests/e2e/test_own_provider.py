"""A provider of one's own in a real worker: the example of the providers' page, asked through the queue."""

import re
from collections.abc import Callable
from pathlib import Path

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.processes import ROOT, Running
from tests.servers import RedisServer

PAGE = ROOT / "workers" / "palaver" / "workers" / "providers" / "README.md"


def test_the_example_answers_a_job(
    redis_server: RedisServer, worker: Callable[..., Running], tmp_path: Path
) -> None:
    page = PAGE.read_text(encoding="utf-8").partition("## A provider of one's own")[2]
    for language, name in (("python", "parrot.py"), ("toml", "palaver.toml")):
        (block,) = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        (tmp_path / name).write_text(block)
    worker(env={"PYTHONPATH": str(tmp_path)})
    with Client(Settings(redis_url=redis_server.url)) as client:
        handle = client.submit("Who are you", model="bird/any", session_id="s1")
        assert "".join(chunk.delta for chunk in handle) == "Hello! Who are you "
        response = handle.result(timeout=60)
    assert (response.provider, response.model, response.finish_reason) == ("bird", "any", "stop")
