"""An S3 server in a process: moto's."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import Processes

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


class S3Server:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    def open_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have this process's clients use keys that the server takes."""
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)

    def url(self, bucket: str, prefix: str = "") -> str:
        """For PALAVER_FILES_URL; the bucket is there then."""
        request = urllib.request.Request(f"{self.endpoint}/{bucket}", method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
        return f"s3://{bucket}/{prefix}?endpoint={self.endpoint}"

    def listed(self, bucket: str, query: str = "") -> str:
        """What the server says that a bucket has, as XML; with the query `uploads`, what was begun."""
        with urllib.request.urlopen(f"{self.endpoint}/{bucket}?{query}", timeout=10) as answer:  # noqa: S310
            text: str = answer.read().decode()
        return text


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One for all tests of this process, each with a bucket of its own."""
    with Processes(Path(tmp_path_factory.mktemp("s3"))) as started:
        running = started.python("-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0", name="s3")
        yield S3Server(int(running.wait_for(r"Running on http://127\.0\.0\.1:(\d+)")[1]))
