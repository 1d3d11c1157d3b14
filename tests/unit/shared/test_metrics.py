"""Counts, their page, and the address where it is served."""

import socket
import struct
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from palaver.shared.errors import ConfigurationError
from palaver.shared.metrics import (
    EXPORTER,
    GATEWAY,
    WORKER,
    Family,
    Histogram,
    Metric,
    MetricsAddress,
    MetricsServer,
    Names,
    Page,
    Sample,
    Tally,
    metrics_page,
)
from palaver.shared.metrics.table import metrics_table
from palaver.shared.settings import Settings
from tests.servers import eventually

PAGE = Path(__file__).parents[3] / "deploy/METRICS.md"
JOBS = Metric("palaver_test_jobs_total", "counter", "Jobs.", ("outcome",))
PLAIN = Metric("palaver_test_total", "counter", "All.")
WAIT = Metric("palaver_test_wait_seconds", "histogram", "Waits.", ("queue",), (0.5, 2))


def shown(*families: Family) -> dict[tuple[str, tuple[str, ...]], float]:
    """Our samples of the page: name and label values to value."""
    page = metrics_page(lambda: families)()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in parsed(page.body.decode())
        for sample in family.samples
        if sample.name.startswith("palaver_")
    }


def test_a_counter_counts_by_its_labels() -> None:
    jobs, plain = Tally(JOBS), Tally(PLAIN)
    jobs.add("completed")
    jobs.add("failed", by=3)
    jobs.add("completed")
    assert shown((JOBS, jobs.samples()), (PLAIN, plain.samples())) == {
        ("palaver_test_jobs_total", ("completed",)): 2,
        ("palaver_test_jobs_total", ("failed",)): 3,
        ("palaver_test_total", ()): 0,
    }


def test_a_histogram_s_buckets_are_cumulative_and_hold_their_bounds() -> None:
    wait = Histogram(WAIT)
    for value in (0.1, 0.5, 0.6, 3.0):
        wait.observe(value, "normal")
    assert shown((WAIT, wait.samples())) == {
        ("palaver_test_wait_seconds_bucket", ("0.5", "normal")): 2,
        ("palaver_test_wait_seconds_bucket", ("2.0", "normal")): 3,
        ("palaver_test_wait_seconds_bucket", ("+Inf", "normal")): 4,
        ("palaver_test_wait_seconds_count", ("normal",)): 4,
        ("palaver_test_wait_seconds_sum", ("normal",)): 4.2,
    }


def test_a_page_tells_of_the_process_too() -> None:
    page = metrics_page(lambda: [(JOBS, [Sample(("a\n\"b'",), 1)])])()
    names = {family.name for family in parsed(page.body.decode())}
    assert {"palaver_test_jobs", "process_cpu_seconds", "python_info", "python_gc_collections"} <= names
    assert page.content_type.startswith("text/plain; version=")


def test_names_that_anybody_may_make_up_stay_few() -> None:
    names = Names(2)
    assert [names.of(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", "other", "a", "other"]


def test_the_catalogue_keeps_to_prometheus_conventions() -> None:
    names = [metric.name for metric in (*WORKER, *GATEWAY, *EXPORTER)]
    assert len(set(names)) == len(names)
    for metric in (*WORKER, *GATEWAY, *EXPORTER):
        assert metric.name.startswith("palaver_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric.name
        assert list(metric.buckets) == sorted(metric.buckets)
        assert metric.help.endswith(".")
        assert not {"session", "job", "user", "le"} & set(metric.labels)


def test_the_page_in_the_house_is_the_one_that_the_catalogue_makes() -> None:
    assert PAGE.read_text() == metrics_table(), "run make schema"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9464", "127.0.0.1", 9464),
        ("0.0.0.0:9464", "0.0.0.0", 9464),
        ("[::1]:80", "::1", 80),
        ("metrics.example:0", "metrics.example", 0),
    ],
)
def test_an_address_is_a_port_or_host_and_port(text: str, host: str, port: int) -> None:
    address = MetricsAddress.parse(text)
    assert (address.host, address.port) == (host, port)
    assert MetricsAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["x", "127.0.0.1:", ":::1", "1:2:3", "65536", "tcp://10.0.0.1:9464", "-1", " 1"]
)
def test_anything_else_is_refused_by_the_setting_s_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^PALAVER_METRICS_ADDRESS: must be a port, or HOST:PORT"):
        Settings(metrics_address=text)


def fetched(server: MetricsServer, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://{server.address}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_pages_are_served_and_nothing_else() -> None:
    pages = {"/healthz": lambda: Page(b"ok\n"), "/readyz": lambda: Page(b"no\n", 503)}
    server = MetricsServer(MetricsAddress("127.0.0.1", 0), pages)
    try:
        assert fetched(server, "/healthz") == (200, "ok\n")
        assert fetched(server, "/healthz?verbose") == (200, "ok\n")
        assert fetched(server, "/readyz") == (503, "no\n")
        assert fetched(server, "/healthz", "HEAD") == (200, "")
        assert fetched(server, "/metrics") == (404, "not found\n")
        assert fetched(server, "/healthz", "POST")[0] == 501
    finally:
        server.close()


def test_whoever_goes_away_before_the_answer_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    others = set(threading.enumerate())  # a fakeredis of other tests has such threads too
    asked, gone = threading.Event(), threading.Event()

    def made_late() -> Page:
        asked.set()
        gone.wait(10)
        return Page(b"late\n" * 100_000)

    server = MetricsServer(MetricsAddress("127.0.0.1", 0), {"/late": made_late})
    try:
        leave(server, b"")  # as a probe that only looks whether the port is open
        leave(server, b"GET /late HTTP/1.1\r\n\r\n", after=asked)
        gone.set()
        assert eventually(
            lambda: not [t for t in {*threading.enumerate()} - others if "process_request" in t.name]
        )
    finally:
        server.close()
    assert capsys.readouterr().err == ""


def leave(server: MetricsServer, said: bytes, after: threading.Event | None = None) -> None:
    """Ask, and cut the connection."""
    with socket.create_connection((server.address.host, server.address.port)) as client:
        client.sendall(said)
        assert after is None or after.wait(10)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_no_name_server_is_asked_for_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(socket, "getfqdn", asked.append)
    server = MetricsServer(MetricsAddress("127.0.0.1", 0), {"/healthz": lambda: Page(b"ok\n")})
    try:
        assert fetched(server, "/healthz") == (200, "ok\n")
    finally:
        server.close()
    assert not asked


def test_a_second_process_gets_the_next_port_that_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address, pages = MetricsAddress("127.0.0.1", port), {"/healthz": lambda: Page(b"ok\n")}
        with pytest.raises(ConfigurationError, match=rf"cannot be served at 127\.0\.0\.1:{port}: Addr"):
            MetricsServer(address, pages)
        server = MetricsServer(address, pages, further=99)
        try:
            assert port < server.address.port <= port + 99
            assert fetched(server, "/healthz") == (200, "ok\n")
        finally:
            server.close()


def test_a_host_that_is_not_ours_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"served at 192\.0\.2\.1:9464, nor at the 9 ports"):
        MetricsServer(MetricsAddress("192.0.2.1", 9464), {}, further=9)
