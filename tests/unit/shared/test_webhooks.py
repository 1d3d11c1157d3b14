"""What settings say of webhooks: which addresses may be called, and by which keys they are signed."""

import hmac
import ipaddress

import pytest

from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.settings import Settings
from palaver.shared.webhooks import (
    check_webhook,
    may_be_called,
    networks,
    secret_text,
    secrets,
    tenant_secret,
)

PUBLIC = [
    "93.184.215.14",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "::ffff:93.184.215.14",
    "64:ff9b::5db8:d70e",
]
OWN = [
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "224.0.0.1", "239.1.1.1", "255.255.255.255", "192.0.2.1", "198.18.0.1"),
    *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    # an IPv4 address inside
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe"),
    *(
        "2001:0:7f00:1::f5ff:fffe",
        "::127.0.0.1",
        "::93.184.215.14",
        "::ffff:0:127.0.0.1",
        "64:ff9b:1::7f00:1",
    ),
    # what is not of the internet, whatever a Python's list of networks says
    *("fec0::1", "5f00::1", "3fff::1", "100::1", "2001:1::1", "2002:5db8:d70e::1", "4000::1"),
    *("168.63.129.16", "::ffff:168.63.129.16", "192.88.99.1", "192.0.0.9", "240.0.0.1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_the_internet_may_be_called(address: str) -> None:
    assert may_be_called(ipaddress.ip_address(address), ())


@pytest.mark.parametrize("address", OWN)
def test_ones_own_network_may_not(address: str) -> None:
    assert not may_be_called(ipaddress.ip_address(address), ())


def test_unless_it_is_allowed() -> None:
    allowed = networks("10.0.0.0/8, ::1")
    assert may_be_called(ipaddress.ip_address("10.1.2.3"), allowed)
    assert may_be_called(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert may_be_called(ipaddress.ip_address("::1"), allowed)
    assert not may_be_called(ipaddress.ip_address("127.0.0.1"), allowed)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/hook", "https://", "https://example.org:0x/", "https://example.org:99999/"),
        *(
            "https://user:password@example.org/",
            "https://127.0.0.1/",
            "https://[::1]:8080/",
            "https://10.0.0.1",
            "https://\uff11\uff12\uff17.0.0.1/",
            "https://127\u30020\u30020\u30021/",
        ),
    ],
)
def test_what_no_worker_would_call_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        check_webhook(url)
    assert refused.value.param == "webhook"
    assert "password@" not in str(refused.value)


def test_what_may_be_called_is_not_refused() -> None:
    check_webhook("https://example.org/hook?for=me")
    check_webhook("https://93.184.215.14:8443/")
    check_webhook("http://10.0.0.1/", networks("10.0.0.0/8"))


def test_keys_are_told_apart() -> None:
    first, second = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    assert [len(key) for key in secrets(f"{first} {second}")] == [24, 24]


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64!", "whsec_" + "A" * 92])
def test_a_key_that_is_none_is_refused_and_not_told(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="PALAVER_WEBHOOK_SECRET") as refused:
        Settings(webhook_secret=secret)
    assert secret == "" or secret not in str(refused.value)


def test_the_key_of_a_tenant_can_be_made_by_anybody_who_has_the_secret() -> None:
    """As `openssl` makes it, so that a service in another language may: HMAC-SHA256."""
    (secret,) = secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    key = tenant_secret(secret, "acme")
    assert key == hmac.new(secret, b"palaver webhooks of the tenant acme", "sha256").digest()
    assert secrets(secret_text(key)) == (key,)
    assert tenant_secret(secret, None) not in (secret, key)


def test_networks_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="PALAVER_WEBHOOK_NETWORKS"):
        Settings(webhook_networks="10.0.0.0/33")
