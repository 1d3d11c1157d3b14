"""A system that is watched: worker, exporter and gateway, a Prometheus that scrapes them, and all that the
dashboard and the alerts ask it.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from palaver.producer import Client
from palaver.shared.errors import ServerError
from palaver.shared.metrics import EXPORTER, GATEWAY, WORKER
from palaver.shared.settings import Settings
from tests.integration.deploy.test_observing import PANELS, PROMETHEUS
from tests.processes import Processes, Running
from tests.servers import eventually, free_port, missing

pytestmark = [pytest.mark.image, pytest.mark.redis, pytest.mark.worker]

SCRAPED = "1s"
WINDOW = "10s"
UNSEEN = {
    "palaver_cost_dollars_total",  # the scripted provider is free
    "palaver_not_ready",
    "palaver_lease_renewals_total",  # jobs that are shorter than a renewal
    "palaver_gate_parked_total",  # nobody waits for a provider
    "palaver_gate_wait_seconds",
    "palaver_refused_requests_total",  # nor asks it for what it has not
    "palaver_tenant_jobs",  # nor is any job left
    "palaver_tenant_oldest_age_seconds",
}
"""Metrics that have no series in so short a run, as there is nothing to tell."""


@pytest.fixture
def watched(
    processes: Processes, worker: Callable[..., Running], palaver_env: dict[str, str], tmp_path: Path
) -> int:
    """The port of a Prometheus that has seen some work."""
    prometheus = shutil.which("prometheus") or missing("prometheus is not installed (Debian: prometheus)")
    ports = {name: free_port() for name in ("worker", "exporter", "gateway", "prometheus")}
    worker(env={"PALAVER_METRICS_ADDRESS": str(ports["worker"])})
    for name in ("exporter", "gateway"):
        processes.start(("palaver", name, "--port", str(ports[name])), name=name, env=palaver_env)
    config = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": SCRAPED, "evaluation_interval": SCRAPED}
    config["rule_files"] = [str(PROMETHEUS / "alerts.yaml")]
    config["scrape_configs"] = [
        {"job_name": f"palaver-{name}", "static_configs": [{"targets": [f"127.0.0.1:{ports[name]}"]}]}
        for name in ("worker", "exporter", "gateway")
    ]
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    listen = f"127.0.0.1:{ports['prometheus']}"
    options = (
        f"--config.file={file}",
        f"--web.listen-address={listen}",
        f"--storage.tsdb.path={tmp_path}/db",
    )
    processes.start((prometheus, *options), name="prometheus")
    assert eventually(partial(seen, ports["prometheus"], "up == 1", 3), seconds=60, every=0.2)
    # A counter has to be seen twice: one that is new may have begun anywhere.
    for query in ("palaver_jobs_total", f"rate(palaver_jobs_total[{WINDOW}]) > 0"):
        work(palaver_env, ports["gateway"])
        assert eventually(partial(seen, ports["prometheus"], query, 2), seconds=60, every=0.2)
    return ports["prometheus"]


def work(env: dict[str, str], gateway: int) -> None:
    """Something of what is counted."""
    with Client(Settings.model_validate({"redis_url": env["PALAVER_REDIS_URL"]})) as client:
        client.submit("one two three", model="scripted/echo", tenant="acme").result(timeout=30)
        broken = client.submit('{"fail": {"status": 500}}', model="scripted/echo", max_retries=1)
        with pytest.raises(ServerError):
            broken.result(timeout=30)
    body = {"model": "scripted/echo", "messages": [{"role": "user", "content": "hello"}]}
    assert fetched(gateway, "/v1/chat/completions", body)["choices"][0]["message"]["content"] == "hello"


def fetched(port: int, path: str, body: Any = None) -> Any:
    """The JSON that somebody on this machine answers with."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        content = None if body is None else json.dumps(body)
        connection.request(
            "GET" if body is None else "POST", path, content, {"content-type": "application/json"}
        )
        return json.load(connection.getresponse())


def asked(prometheus: int, path: str, **query: str) -> Any:
    """What Prometheus answers."""
    answer = fetched(prometheus, f"/api/v1/{path}?{urlencode(query)}")
    assert answer["status"] == "success", answer
    return answer["data"]


def series(prometheus: int, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked(prometheus, "query", query=query)["result"]
    return found


def seen(prometheus: int, query: str, least: int) -> bool:
    """Whether there are so many series; also of a Prometheus that is not there yet."""
    try:
        return len(series(prometheus, query)) >= least
    except (OSError, json.JSONDecodeError):
        return False


def test_everything_is_told_and_nobody_is_paged(watched: int) -> None:
    known = set(asked(watched, "label/__name__/values"))
    silent = {
        metric.name
        for metric in (*WORKER, *EXPORTER, *GATEWAY)
        if not known & {metric.name, f"{metric.name}_count"}
    }
    assert silent <= UNSEEN
    for panel in PANELS:
        for target in panel.get("targets", []):
            series(watched, target["expr"].replace("$__rate_interval", WINDOW))  # it is understood
    firing = {alert["metric"]["alertname"] for alert in series(watched, 'ALERTS{severity="page"}')}
    assert not firing
