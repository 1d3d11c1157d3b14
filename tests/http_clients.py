"""HTTP clients of servers on this machine."""

from typing import Any

import httpx2


def http_client(**options: Any) -> httpx2.Client:
    """One without proxies, and without TLS: to load the certificates of the world takes each client 30 ms."""
    return httpx2.Client(trust_env=False, verify=False, **options)


def async_http_client(**options: Any) -> httpx2.AsyncClient:
    """The same for an event loop."""
    return httpx2.AsyncClient(trust_env=False, verify=False, **options)
