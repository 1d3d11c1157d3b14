"""A broker's URL as Celery and kombu are told of it."""

import ssl
from typing import Any

import pytest
from kombu import Connection
from kombu.utils.url import parse_url

from palaver.shared.broker_url import QUORUM, BrokerURL


@pytest.mark.parametrize(
    ("url", "celery"),
    [
        ("redis://h?password=p%26&db=3", "redis://:p%26@h:6379/3"),
        ("redis://u:p%40@[::1]:1", "redis://u:p%40@[::1]:1/0"),
        ("unix:///run/r.sock", "redis+socket:///run/r.sock?virtual_host=0"),
        ("unix://:p@/run/r.sock?db=1", "redis+socket://:p@/run/r.sock?virtual_host=1"),
        ("rediss://h", "rediss://h:6379/0?ssl_cert_reqs=required"),
        ("rediss://h?ssl_cert_reqs=none", "rediss://h:6379/0?ssl_cert_reqs=none"),
        ("redis://a;redis://b:1", "redis://a:6379/0;redis://b:1/0"),
    ],
)
def test_a_redis_for_celery(url: str, celery: str) -> None:
    broker = BrokerURL.parse(url)
    assert broker.url == celery
    assert Connection(celery).transport_cls in ("redis", "rediss")
    assert broker.redis is not None
    assert broker.queue_arguments is None


def test_celery_reads_what_we_read() -> None:
    url = "rediss://u%40:p%2F@h:1/2?ssl_check_hostname=false&ssl_cert_reqs=required"
    read = parse_url(BrokerURL.parse(url).url)
    assert (read["userid"], read["password"], read["virtual_host"]) == ("u@", "p/", "2")
    assert read["ssl"]["ssl_check_hostname"] is False


def test_sentinels_for_celery() -> None:
    broker = BrokerURL.parse("sentinel://:p@h:1/2?master_name=m&sentinel_password=s;sentinel://i")
    assert broker.url == "sentinel://:p@h:1/2;sentinel://:p@i:26379/2"
    assert Connection(broker.url).transport_cls == "sentinel"
    options = broker.transport_options(3.0)
    assert options["master_name"] == "m"
    told = options["sentinel_kwargs"]
    assert (told["password"], told["socket_timeout"], told["socket_connect_timeout"]) == ("s", 1.0, 1.0)


def test_sentinels_with_tls_for_celery() -> None:
    broker = BrokerURL.parse("sentinels://:p@h:1/2?master_name=m&ssl_ca_certs=/ca;sentinels://i")
    assert broker.url == "sentinel://:p@h:1/2;sentinel://:p@i:26379/2"
    assert broker.tls == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca"}
    told = broker.transport_options(3.0)["sentinel_kwargs"]
    assert (told["ssl"], told["ssl_ca_certs"]) == (True, "/ca")


@pytest.mark.parametrize("url", ["amqp://u:p@h//", "pyamqp://h/v", "amqp://a;amqp://b", "amqps://h//"])
def test_queues_of_rabbitmq_are_quorum_queues(url: str) -> None:
    broker = BrokerURL.parse(url)
    assert broker.url == url
    assert broker.queue_arguments == QUORUM
    assert broker.redis is None


def test_a_worker_in_this_process_needs_no_broker() -> None:
    broker = BrokerURL.parse("inprocess://name")
    assert (broker.url, broker.queue_arguments, broker.tls) == ("inprocess://name", None, None)


CHECKED = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}


@pytest.mark.parametrize(
    ("query", "tls"),
    [
        ("", CHECKED),
        ("?ssl_ca_certs=/ca.pem", {**CHECKED, "ca_certs": "/ca.pem"}),
        ("?ssl_certfile=/c&ssl_keyfile=/k", {**CHECKED, "certfile": "/c", "keyfile": "/k"}),
        ("?ssl_check_hostname=false", {"cert_reqs": ssl.CERT_REQUIRED}),
        ("?ssl_cert_reqs=none", {"cert_reqs": ssl.CERT_NONE}),
        ("?ssl_cert_reqs=CERT_OPTIONAL", {"cert_reqs": ssl.CERT_OPTIONAL}),
    ],
)
def test_a_certificate_is_checked_unless_the_url_says_otherwise(query: str, tls: dict[str, Any]) -> None:
    broker = BrokerURL.parse(f"amqps://u:p@h/v{query}")
    assert broker.url == "amqps://u:p@h/v"
    assert broker.tls == tls


def test_what_else_a_url_says_stays() -> None:
    assert BrokerURL.parse("amqps://h/v?heartbeat=5&ssl_ca_certs=/a").url == "amqps://h/v?heartbeat=5"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("kafka://u:hunter2@h", r"must be a redis://.+ or amqps:// URL"),
        ("sqs://k:hunter2@", r"must be a redis://.+ or amqps:// URL"),
        ("amqp://h;nosuch://:hunter2@h", r"must be a redis://.+ or amqps:// URL"),
        ("amqps://h;nosuch://:hunter2@h", r"must be a redis://.+ or amqps:// URL"),
        ("amqps://h?ssl_foo=hunter2", r"not known \(ssl_foo\)"),
        ("amqps://h?ssl_password=hunter2", "ssl_password, which the client of AMQP does not know"),
        ("amqps://h?ssl_cert_reqs=hunter2", "required, optional, none"),
        ("amqps://a?ssl_ca_certs=/hunter2;amqps://b", "the same ssl_"),
        ("amqps://a;amqp://:hunter2@b", "in each of its parts"),
    ],
)
def test_what_is_wrong_with_a_url(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        BrokerURL.parse(url)
    assert "hunter2" not in str(caught.value)


def test_no_secret_in_a_repr() -> None:
    assert "hunter2" not in repr(BrokerURL.parse("amqps://u:hunter2@h?ssl_keyfile=/hunter2"))


@pytest.mark.parametrize(
    ("url", "nodes", "seconds"),
    [
        ("amqp://a//", 1, 2.0),
        ("amqp://a//;amqp://b//", 2, 1.0),
        ("amqps://a//;amqps://b//;amqps://c//", 3, 1.0),
        ("sentinel://a:26379/0?master_name=m;sentinel://b:26379", 1, 2.0),
    ],
)
def test_nodes_have_a_part_of_the_time_each(url: str, nodes: int, seconds: float) -> None:
    broker = BrokerURL.parse(url)
    assert (broker.nodes, broker.node_seconds(2.0)) == (nodes, seconds)
    assert broker.node_seconds(0.2) <= 0.2
