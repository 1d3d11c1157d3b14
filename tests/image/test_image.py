"""The image, without an engine for images: each step of the Dockerfile is done, and what comes out is run
with its own entry point and health check, from a root that nobody may write to. It installs: `make image`.
"""

import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.collector import start_collector
from tests.image.dockerfile import Image
from tests.processes import ROOT, Processes
from tests.servers import RedisServer, eventually, free_port

pytestmark = [pytest.mark.image, pytest.mark.redis, pytest.mark.timeout(600)]

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """Built once; then nobody may write to it."""
    with tempfile.TemporaryDirectory(prefix="palaver-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the folders of pytest are closed to others
        built = Image(folder)
        built.build(DOCKERFILE)
        subprocess.run(("chmod", "-R", "a-w", built.root), check=True)
        (built.root / "tmp").chmod(0o1777)
        yield built
        subprocess.run(("chmod", "-R", "u+w", folder), check=True)


def test_every_step_was_done(image: Image) -> None:
    assert image.stage.done[-2:] == ["ENTRYPOINT", "CMD"]
    assert image.stage.user == "10001:10001"
    assert (image.root / "var/lib/palaver/files").is_dir()
    assert not (image.root / "src").exists(), "sources are in the last stage"
    left = {path.name for path in (image.root / "opt/palaver/bin").iterdir()}
    assert "palaver" in left
    assert "pip" not in left
    size = sum(path.lstat().st_size for path in (image.root / "opt").rglob("*"))
    print(f"what the image adds to its base: {size / 1e6:.0f} MB")


def test_a_container_serves_jobs_from_a_read_only_root(
    image: Image, redis_server: RedisServer, processes: Processes
) -> None:
    url = {"PALAVER_REDIS_URL": redis_server.url}
    port = free_port()
    words = (*image.as_user, *image.command("ENTRYPOINT"), *image.command("CMD"))
    check = image.command("HEALTHCHECK")
    assert image.run(check, url).returncode == 1
    with start_collector() as collector:
        env = {"PALAVER_METRICS_ADDRESS": f"127.0.0.1:{port}", "PALAVER_TRACING": "1"}
        env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        env = dict(image.environment(url | env))
        worker = processes.start(words, name="container", env=env, cwd=image.root / "tmp")
        assert eventually(lambda: image.run(check, url).returncode == 0, seconds=60, every=0.5)
        with Client(Settings(redis_url=redis_server.url)) as client:
            assert client.submit("as in a container").result(timeout=30).content == "as in a container"
        for probe in probes():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{probe}", timeout=10) as answer:
                assert answer.status == 200, probe
        worker.signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        assert collector.named("palaver.job")


def probes() -> list[str]:
    """Where Kubernetes asks a worker how it is."""
    text = (ROOT / "deploy/kustomize/base/worker.yaml").read_text(encoding="utf-8")
    (container,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
    return [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
