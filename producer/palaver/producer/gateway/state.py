"""What all requests of a process share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Annotated, Any

from fastapi import Depends, Request

from palaver.producer.async_client import AsyncClient
from palaver.producer.gateway.access.crowd import Crowd
from palaver.producer.gateway.access.table import KeyTable
from palaver.producer.gateway.counting import Counts
from palaver.producer.gateway.fanout.feed import Feeds
from palaver.producer.gateway.stream import Streams
from palaver.producer.interfaces import AsyncConversations, Clients
from palaver.shared.frames import frames
from palaver.shared.metrics import Page, metrics_page
from palaver.shared.settings import Settings

log = logging.getLogger("palaver.gateway")


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
        self.chores: list[asyncio.Task[None]] = []
        self.origins = [name for word in settings.gateway_origins.split(",") if (name := word.strip())]

    @cached_property
    def metrics_page(self) -> Callable[[], Page]:
        """Makes the page for Prometheus. Raises ConfigurationError where its client is not installed."""
        return metrics_page(lambda: self.counts.families(streams=len(self.streams), feeds=len(self.feeds)))

    def begin(self, **chores: Coroutine[Any, Any, None]) -> None:
        """Do these beside the requests, until `aclose`."""
        for name, chore in chores.items():
            task = asyncio.create_task(chore, name=name)
            task.add_done_callback(_tell)
            self.chores.append(task)

    async def aclose(self) -> None:
        """Close what is open."""
        for task in self.chores:
            task.cancel()
        await asyncio.gather(*self.chores, return_exceptions=True)
        await self.feeds.aclose()
        await self.conversations.aclose()
        await self._clients.aclose()


def _tell(chore: asyncio.Task[None]) -> None:
    if not chore.cancelled() and (error := chore.exception()) is not None:
        log.critical(
            "chore_ended name=%s error=%s\n%s", chore.get_name(), type(error).__name__, frames(error)
        )


async def _gateway(request: Request) -> Gateway:  # not `def`: the framework would ask a thread for it
    gateway: Gateway = request.app.state.gateway
    return gateway


Served = Annotated[Gateway, Depends(_gateway)]
"""The gateway, as a parameter of a route."""
