"""What all requests of a process share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from palaver.producer.async_client import AsyncClient
from palaver.producer.gateway.access.crowd import Crowd
from palaver.producer.gateway.access.table import KeyTable
from palaver.producer.gateway.counting import Counts
from palaver.producer.gateway.fanout.feed import Feeds
from palaver.producer.gateway.stream import Streams
from palaver.producer.interfaces import AsyncConversations, Clients
from palaver.shared.metrics import Page, metrics_page
from palaver.shared.settings import Settings


class Gateway:
    """One client with its one subscription, the feeds of sessions, the keys. Lives as long as the app.

    `open_to_loopback`: it listens on the loopback alone, so while there are no keys it asks for none.
    """

    def __init__(self, settings: Settings, *, open_to_loopback: bool) -> None:
        self.settings = settings
        self._clients = Clients(settings)
        self.client: AsyncClient = self._clients.awaited
        self.conversations = AsyncConversations(self._clients)
        self.keys = KeyTable(self.client, may_be_open=open_to_loopback and settings.gateway_auth == "auto")
        self.feeds = Feeds(self.client)
        self.crowd = Crowd()
        self.streams = Streams()
        self.counts = Counts()
        self.origins = [name for word in settings.gateway_origins.split(",") if (name := word.strip())]

    @cached_property
    def metrics_page(self) -> Callable[[], Page]:
        """Makes the page for Prometheus. Raises ConfigurationError where its client is not installed."""
        return metrics_page(lambda: self.counts.families(streams=len(self.streams), feeds=len(self.feeds)))

    async def aclose(self) -> None:
        """Close what is open."""
        await self.feeds.aclose()
        await self.conversations.aclose()
        await self._clients.aclose()


async def _gateway(request: Request) -> Gateway:  # not `def`: the framework would ask a thread for it
    gateway: Gateway = request.app.state.gateway
    return gateway


Served = Annotated[Gateway, Depends(_gateway)]
"""The gateway, as a parameter of a route."""
