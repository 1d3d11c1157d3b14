"""What settings say of webhooks: the keys that sign them, and where they may go.

Whoever can verify a webhook can forge one, since a key for both is the same. So each tenant's are signed with
a key of its own, which is made of that of the setting and the tenant's name, and that one leaves no worker.
"""

import base64
import hmac
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from palaver.shared.plain import refuse

__all__ = [
    "Address",
    "Network",
    "check_webhook",
    "may_be_called",
    "networks",
    "secret_text",
    "secrets",
    "tenant_secret",
]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses as a NAT64 gateway of the internet sees them (RFC 6052)."""

_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""All that was ever given to the internet: what else there is, or will be, is somebody's own."""

_FORBIDDEN: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # the host of a machine at Azure
            "192.0.0.0/24",  # protocols, their global ones too
            "192.88.99.0/24",  # 6to4 relays
            "2001::/23",  # protocols, Teredo among them: an IPv4 address inside
            "2001:db8::/32",
            "2002::/16",  # 6to4: an IPv4 address inside
            "3fff::/20",
        ),
    )
)
"""Which `is_global` does not know, or not in each Python."""

_PURPOSE: Final = b"palaver webhooks of the tenant "


def secrets(words: str) -> tuple[bytes, ...]:
    """The keys of a setting, `whsec_BASE64 whsec_BASE64`. Raises ValueError."""
    keys = tuple(base64.b64decode(word.removeprefix("whsec_"), validate=True) for word in words.split())
    if not keys or not all(24 <= len(key) <= 64 for key in keys):
        raise ValueError("a key must have 24 to 64 bytes")
    return keys


def tenant_secret(secret: bytes, tenant: str | None) -> bytes:
    """The key of a tenant, 32 bytes; None is for the jobs of no tenant, which is one more."""
    return hmac.digest(secret, _PURPOSE + (tenant or "").encode(), "sha256")


def secret_text(secret: bytes) -> str:
    """A key as receivers are given it: `whsec_BASE64`."""
    return f"whsec_{base64.b64encode(secret).decode()}"


def networks(words: str) -> tuple[Network, ...]:
    """The networks of a setting, `10.0.0.0/8, ::1`. Raises ValueError."""
    return tuple(ipaddress.ip_network(word.strip()) for word in words.split(",") if word.strip())


def may_be_called(address: Address, allowed: tuple[Network, ...]) -> bool:
    """Whether it is an address of the public internet, or in a network that is allowed.

    One that stands for an IPv4 address is judged by that; by a tunnel nothing is called.
    """
    inner = _inner(address)
    if any(each in network for each in (address, inner) for network in allowed):
        return True
    if isinstance(inner, ipaddress.IPv6Address) and inner not in _UNICAST:
        return False
    return inner.is_global and not inner.is_multicast and not any(inner in network for network in _FORBIDDEN)


def check_webhook(url: str, allowed: tuple[Network, ...] = ()) -> None:
    """Raises ValidationError with `param="webhook"` for an address that no worker would call: one without
    TLS, or by itself of a network that is not allowed. What a name stands for is seen when it is called.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        refuse("webhook", "must be an address with a host and, if any, a port from 1 to 65535")
    if not host.isascii():
        refuse("webhook", "must have a host in ASCII: a name with other letters in its xn-- form")
    if parts.username is not None or parts.password is not None:
        refuse("webhook", "must not hold a user or a password: its requests are signed")
    if parts.scheme != "https" and not allowed:
        refuse("webhook", "must begin with https:// (http:// needs PALAVER_WEBHOOK_NETWORKS)")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if not may_be_called(address, allowed):
        refuse("webhook", f"must not be at {address}: PALAVER_WEBHOOK_NETWORKS does not allow it")


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address
