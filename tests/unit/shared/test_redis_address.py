"""What a Redis URL means to a raw connection."""

import ssl
from pathlib import Path

import pytest

from palaver.shared.errors import ConfigurationError
from palaver.shared.redis_address import Address

NAME = ("CLIENT", "SETNAME", "palaver-test")


def parse(url: str) -> Address:
    return Address.parse(url, name="palaver-test")


def test_a_plain_url() -> None:
    address = parse("redis://redis.example:6380/3")
    assert (address.host, address.port, address.path, address.tls) == ("redis.example", 6380, None, None)
    assert address.greeting == (("SELECT", "3"), NAME)


@pytest.mark.parametrize(
    ("user", "words"), [(":p%40ss", ("AUTH", "p@ss")), ("me:secret", ("AUTH", "me", "secret"))]
)
def test_credentials_are_said_first_and_are_in_no_repr(user: str, words: tuple[str, ...]) -> None:
    address = parse(f"redis://{user}@h")
    assert address.greeting == (words, NAME)
    assert words[-1] not in repr(address)


def test_a_unix_socket() -> None:
    address = parse("unix:///run/redis.sock?db=2")
    assert (address.path, address.greeting[0]) == ("/run/redis.sock", ("SELECT", "2"))


def test_tls_is_checked_unless_the_url_says_not_to() -> None:
    strict, lax = parse("rediss://h"), parse("rediss://h?ssl_cert_reqs=none")
    assert strict.tls is not None
    assert (strict.tls.verify_mode, strict.tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert lax.tls is not None
    assert (lax.tls.verify_mode, lax.tls.check_hostname) == (ssl.CERT_NONE, False)


def test_what_is_no_redis_url_is_named_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match="sentinel:// or sentinels://") as caught:
        parse("http://me:secret@h")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
def test_files_of_tls_that_are_not_there_are_one_line(option: str) -> None:
    with pytest.raises(ConfigurationError, match="files of TLS that cannot be used: there is no such"):
        parse(f"rediss://h?{option}=/nowhere.pem")


def test_files_of_tls_that_are_none_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match="files of TLS that cannot be used"):
        parse(f"rediss://h?ssl_ca_certs={tmp_path}/ca.pem")
