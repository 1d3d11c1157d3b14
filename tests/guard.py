"""Keeps a test process on this machine: a connection to anything but the loopback is a failure."""

import ipaddress
import os
import socket
import sys


class OutsideReached(AssertionError):
    """A test tried to reach an address that is not the loopback."""


def is_local(host: object) -> bool:
    """Whether a host as given to connect or getaddrinfo can only mean this machine."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        try:
            address = ipaddress.ip_address(socket.inet_aton(str(host)))  # as the system reads it: 0x7f000001
        except OSError:
            return False
    return address.is_loopback or address.is_unspecified


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a path: a unix socket
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not is_local(host):
        raise OutsideReached(f"a test reached for {host!r}; tests use the loopback alone")


def install() -> None:
    """Watch this interpreter until it ends, and forget the proxies of the environment."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    sys.addaudithook(_audit)
