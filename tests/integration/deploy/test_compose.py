"""The container files: checked as files, and compose's commands and settings run as plain processes."""

import json
import re
import subprocess
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from palaver.producer import Client
from palaver.shared.settings import Settings
from palaver.workers.pool.leaving import END_SECONDS
from tests.integration.deploy.tools import DEPLOY, check
from tests.processes import ROOT, Processes, clean_environment
from tests.servers import any_redis_binary, eventually, free_port, missing

VOLUME = "/var/lib/palaver/files"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("hadolint", "deploy/Dockerfile"), marks=pytest.mark.deploy, id="hadolint"),
        ("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"),
        ("yamllint", "--strict", "deploy", ".pre-commit-config.yaml", ".yamllint.yaml"),
    ],
    ids=lambda command: command[0],
)
def test_the_files_are_sound(command: tuple[str, ...]) -> None:
    check(*command)


def test_the_image_copies_what_is_there_and_runs_as_nobody() -> None:
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{Path(source).parts[0]}" in allowed, f"{source} is kept out by .dockerignore"
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE, re.MULTILINE)


def test_a_worker_is_given_the_time_that_it_needs_to_drain() -> None:
    for name in ("worker", "gateway"):
        service = COMPOSE["services"][name]
        drains = int(service["environment"]["PALAVER_DRAIN_SECONDS"])
        assert int(service["stop_grace_period"].rstrip("s")) >= drains + END_SECONDS + 5


def test_no_container_of_ours_has_rights_or_a_root_to_write_to() -> None:
    ours = {name for name, service in COMPOSE["services"].items() if service["image"] == "palaver"}
    assert ours == {"worker", "exporter", "gateway", "flower"}
    for name in ours:
        service = COMPOSE["services"][name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    opened = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in opened), "something is open to the network"


def test_the_image_has_whatever_a_setting_may_ask_for() -> None:
    lock = (ROOT / "requirements/service.txt").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {
        canonicalize_name(Requirement(line).name)
        for extra, lines in extras["optional-dependencies"].items()
        if extra not in ("extraction", "django", "testing", "dev", "all")
        for line in lines
    }
    there = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    assert wanted - there - {"palaver"} == set()


def test_workers_have_a_volume_that_they_can_write_to() -> None:
    assert "files" in COMPOSE["volumes"]
    assert f"files:{VOLUME}" in COMPOSE["services"]["worker"]["volumes"]
    assert re.search(rf"install -d .*{VOLUME}$", DOCKERFILE, re.MULTILINE)
    owner, folder = "10001:10001", str(Path(VOLUME).parent)
    assert f"--chown={owner} {folder} {folder}\n" in DOCKERFILE, "a volume has root's rights"
    assert f"USER {owner}\n" in DOCKERFILE


def test_each_service_has_the_secrets_that_it_needs() -> None:
    keys = {"worker": {"OPENAI_API_KEY", "PALAVER_SECRET"}, "gateway": {"PALAVER_SECRET"}}
    for name, service in COMPOSE["services"].items():
        if service["image"] == "palaver":
            given = {key for key in service["environment"] if key.endswith(("_KEY", "_SECRET"))}
            assert given == keys.get(name, set()), name


def test_redis_refuses_before_the_host_ends_it() -> None:
    command = COMPOSE["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--maxmemory"].endswith("mb")
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--appendonly"] == "yes"


def test_prometheus_scrapes_every_service_that_has_metrics() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text(encoding="utf-8"))
    scraped: dict[str, str] = {}
    for job in config["scrape_configs"]:
        for group in job.get("static_configs", []):
            scraped |= dict(target.split(":") for target in group["targets"])
        for group in job.get("dns_sd_configs", []):
            scraped |= {name: str(group["port"]) for name in group["names"]}
    ours = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "palaver"}
    assert scraped.keys() == ours.keys()
    for name, port in scraped.items():
        told = " ".join([*ours[name]["command"], *ours[name]["environment"].values()])
        assert re.search(rf"\b{port}\b", told), f"{name} does not serve at {port}"


class Composed:
    """The services of compose.yaml as processes, with addresses and paths of this machine."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.redis_port = str(free_port())
        self.redis_url = f"redis://127.0.0.1:{self.redis_port}/0"
        self._pairs = {
            "redis://redis:6379/0": self.redis_url,
            "/etc/palaver": str(DEPLOY),
            VOLUME: str(processes.folder / "files"),
            "0.0.0.0": "127.0.0.1",
            **{port: str(free_port()) for port in ("5555", "8080", "9463", "9464")},
        }

    def translated(self, text: str) -> str:
        for theirs, ours in self._pairs.items():
            text = text.replace(theirs, ours)
        return re.sub(r"\$\{\w+:-(.*?)\}", r"\1", text)

    def environment(self, service: str) -> dict[str, str]:
        found: dict[str, str] = COMPOSE["services"][service].get("environment", {})
        return {name: self.translated(value) for name, value in found.items()}

    def start(self, service: str) -> None:
        words = [self.translated(word) for word in self.command(service)]
        if service == "redis":
            binary = any_redis_binary() or missing("no Redis server on this machine")
            here = ("--port", self.redis_port, "--bind", "127.0.0.1", "--dir", str(self.processes.folder))
            words = [binary, *words[1:], *here]
        self.processes.start(words, name=service, env=self.environment(service))

    def command(self, service: str) -> list[str]:
        """The service's words, behind its own entry point or the image's."""
        told = COMPOSE["services"][service]
        image = re.search(r"^ENTRYPOINT (.+)$", DOCKERFILE, re.MULTILINE)
        assert image is not None
        own = json.loads(image[1]) if told["image"] == "palaver" else []
        return [*told.get("entrypoint", own), *told["command"]]

    def healthy(self, service: str) -> bool:
        """Run the service's own health check; one without has the image's."""
        check = COMPOSE["services"][service].get(
            "healthcheck", {"test": ["CMD", "palaver", "status", "--quick"]}
        )
        kind, *words = [self.translated(word) for word in check["test"]]
        if kind == "CMD-SHELL":
            words = ["/bin/sh", "-c", words[0].replace("redis-cli", f"redis-cli -p {self.redis_port}")]
        env = clean_environment(self.environment(service))
        done = subprocess.run(
            words, cwd=self.processes.folder, env=env, capture_output=True, timeout=30, check=False
        )
        return done.returncode == 0


def test_the_services_of_compose_work_together(processes: Processes) -> None:
    composed = Composed(processes)
    for services in (("redis",), ("worker", "flower", "exporter", "gateway")):
        for service in services:
            assert not composed.healthy(service), f"{service} is healthy before it runs"
            composed.start(service)
        for service in services:
            assert eventually(partial(composed.healthy, service), seconds=60, every=1.0), service
    files_url = composed.environment("worker")["PALAVER_FILES_URL"]
    settings = Settings(
        redis_url=composed.redis_url, config=str(DEPLOY / "palaver.toml"), files_url=files_url
    )
    with Client(settings) as client:
        assert client.submit("as in a container").result(timeout=30).content == "as in a container"
        batch = client.batch(["one", "two"])
        batch.wait(timeout=30)
        assert [result.response.content for result in batch.results()] == ["one", "two"]
