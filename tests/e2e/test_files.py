"""Files as a user meets them: uploaded by one process to an S3, read by a worker in another."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.documents import docx
from tests.processes import Processes, Running
from tests.s3_server import KEYS, S3Server, s3_server

__all__ = ["s3_server"]

pytestmark = [pytest.mark.redis, pytest.mark.worker]


@pytest.mark.xdist_group("s3")
def test_a_worker_reads_what_a_client_has_uploaded(
    worker: Callable[..., Running],
    palaver_env: dict[str, str],
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3_server.open_to(monkeypatch)
    url = s3_server.url(f"b{uuid4().hex}")
    running = worker(env={**KEYS, "PALAVER_FILES_URL": url})
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"], files_url=url)
    with Client(settings) as client:
        ref = client.files.upload(docx("A tea costs 3 euros."), filename="menu.docx", user="ann")
        answer = client.submit("What does a tea cost?", files=[ref], user="ann", wait=True, timeout=60)
        again = client.submit("And now?", files=[ref], user="ann", wait=True, timeout=60)
        client.files.delete(ref.id, user="ann")
        late = client.submit("And then?", files=[], user="ann", wait=True, timeout=60)
    told = f'<file name="menu.docx" type="{ref.type}">\nA tea costs 3 euros.\n</file>\n\n'
    assert (answer.content, again.content) == (f"{told}What does a tea cost?", f"{told}And now?")
    assert late.content == "And then?"
    assert "euros" not in running.output
    assert "<Contents>" not in s3_server.listed(url.split("/")[2])


def test_a_worker_with_a_wrong_extractor_does_not_start(
    processes: Processes, palaver_env: dict[str, str]
) -> None:
    env = {**palaver_env, "PALAVER_TEXT_EXTRACTOR": "your_app.extractors.Custom"}
    running = processes.start(("palaver", "worker"), name="worker", env=env)
    assert running.wait(60) == 2
    running.drained()
    assert "PALAVER_TEXT_EXTRACTOR: your_app.extractors.Custom cannot be imported" in running.output
    assert "Traceback" not in running.output
