"""What a Redis URL may say, to us and to Celery; what is wrong with one is told without a piece of it."""

from dataclasses import asdict
from typing import Any

import pytest

from palaver.shared.redis_url import RedisURL, split_url
from palaver.shared.settings import redacted_url

PLAIN = {
    "host": "h",
    "port": 6379,
    "path": None,
    "db": 0,
    "username": None,
    "password": None,
    "tls": None,
    "master": None,
    "sentinels": (),
    "sentinel_username": None,
    "sentinel_password": None,
}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h", {}),
        ("redis://h:1/2", {"port": 1, "db": 2}),
        ("redis://h//", {}),  # as Celery's own examples have it
        ("redis://:p%40%2F%23%3F@h", {"password": "p@/#?"}),
        ("redis://u:p@h/1?db=2", {"username": "u", "password": "p", "db": 2}),
        ("redis://h?username=u&password=p%26w&db=3", {"username": "u", "password": "p&w", "db": 3}),
        ("redis://u:p@h?username=x&password=y", {"username": "u", "password": "p"}),
        ("redis://[::1]:1/0", {"host": "::1", "port": 1}),
        ("redis://", {"host": "localhost"}),
        ("unix:///run/r.sock", {"host": "localhost", "path": "/run/r.sock"}),
        ("unix://:p@/run/r%20d?db=4", {"host": "localhost", "path": "/run/r d", "password": "p", "db": 4}),
        ("rediss://h", {"tls": {}}),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", {"tls": {"ssl_cert_reqs": "none"}}),
        ("rediss://h?ssl_check_hostname=False", {"tls": {"ssl_check_hostname": False}}),
        ("rediss://h?ssl_ca_certs=/ca.pem", {"tls": {"ssl_ca_certs": "/ca.pem"}}),
    ],
)
def test_what_a_url_says(url: str, said: dict[str, Any]) -> None:
    assert asdict(RedisURL.parse(url)) == {**PLAIN, **said}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost", "must be a URL"),
        ("http://h", "redis://, rediss://, unix://, sentinel:// or sentinels://"),
        ("redis://h:99999/0", "a port above 65535"),
        ("redis://h:0/0", "port 0"),
        ("redis://a..b", "a host that can be the name of none"),
        (f"redis://{'x' * 64}.example", "a host that can be the name of none"),
        ("redis://%2e%2e/0", "a host that can be the name of none"),
        ("redis://h/zero", "a number for its database"),
        ("redis://h?db=zero", "a number for its database"),
        ("redis://h?foo=1", r"not known \(foo\); known are db, username, password$"),
        ("rediss://h?foo=1", r"not known \(foo\); known are db, username, password, ssl_ca_certs"),
        ("redis://h?protocol=3", "not known"),
        ("redis://h?ssl_cert_reqs=none", "without TLS"),
        ("rediss://h?ssl_cert_reqs=perhaps", "required, optional, none"),
        ("unix://run/r.sock", "three slashes"),
        ("unix://", "three slashes"),
        ("redis://:hunter2#x@h:1/0", "%XX"),
        ("redis://:hunter2@x/hunter2@h:1/0", "%XX|number"),
        ("redis://:1?hunter2=hunter2@h:1/0", "not known; known"),
        ("redis://h:1/0#hunter2", "#"),
    ],
)
def test_what_is_wrong_with_a_url(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        RedisURL.parse(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sentinel://h/?master_name=mymaster", {"sentinels": (("h", 26379),)}),
        (
            "sentinel://:p%40@h:1/2?master_name=mymaster;sentinel://i;sentinel://[::1]:3",
            {"port": 1, "db": 2, "password": "p@", "sentinels": (("h", 1), ("i", 26379), ("::1", 3))},
        ),
        (
            "sentinel://u:p@h/0?master_name=mymaster;sentinel://u:p@i/0?master_name=mymaster",
            {"username": "u", "password": "p", "sentinels": (("h", 26379), ("i", 26379))},
        ),
        (
            "sentinel://h?master_name=mymaster&sentinel_username=u&sentinel_password=s%26",
            {"sentinels": (("h", 26379),), "sentinel_username": "u", "sentinel_password": "s&"},
        ),
        (
            "sentinels://h?master_name=mymaster&ssl_ca_certs=/ca;sentinels://i",
            {"sentinels": (("h", 26379), ("i", 26379)), "tls": {"ssl_ca_certs": "/ca"}},
        ),
    ],
)
def test_what_a_url_says_of_sentinels(url: str, said: dict[str, Any]) -> None:
    read = RedisURL.parse(url)
    assert asdict(read) == {**PLAIN, "master": "mymaster", **said}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sentinel://h:1", "name the master"),
        ("sentinel://h?master_name=", "name the master"),
        ("sentinel://h?master_name=m&ssl_ca_certs=/ca", "without TLS"),
        ("sentinel://h?master_name=m&foo=1", r"not known \(foo\)"),
        ("sentinel://h?master_name=m;redis://:hunter2@i", "sentinel:// in each"),
        ("sentinel://h?master_name=m;sentinel://:hunter2@i", "in the first of its parts"),
        ("sentinel://h;sentinel://i?master_name=m", "name the master"),
        ("sentinels://h", "name the master"),
        ("sentinels://h?master_name=m;sentinel://:hunter2@i", "sentinels:// in each"),
        ("sentinels://h?master_name=m&ssl_cert_reqs=perhaps", "required, optional, none"),
        ("redis://h?master_name=m", "not known"),
    ],
)
def test_what_is_wrong_with_a_url_of_sentinels(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        RedisURL.parse(url)
    assert "hunter2" not in str(caught.value)


def test_no_password_in_a_repr() -> None:
    assert "hunter2" not in repr(RedisURL.parse("sentinel://h?master_name=m&sentinel_password=hunter2"))
    assert "hunter2" not in repr(RedisURL.parse("rediss://:hunter2@h?ssl_password=hunter2"))


@pytest.mark.parametrize(
    "url",
    [
        "amqp://u:hunter2@h:port//",
        "amqp://u:hun#ter2@h//",
        "amqp://u:hunter2",
        "amqp://u:p@hun#ter2@h//",
        "redis://:hun#ter2",
    ],
)
def test_other_urls_have_passwords_too(url: str) -> None:
    with pytest.raises(ValueError, match=r"%XX|%23"):
        split_url(url)
    assert "hun" not in redacted_url(url)
