"""What answers the jobs of a worker: models and agents, and what both are made of."""

from __future__ import annotations

from collections.abc import Sequence

from palaver.workers.agents.requests import AgentRequests
from palaver.workers.agents.routes import Routes
from palaver.workers.agents.source import Agents
from palaver.workers.cache import Cache
from palaver.workers.files import JobFiles
from palaver.workers.files.attachments import Attachments
from palaver.workers.generation import FunctionTools, Prompts, Registry, Toolbox, UserCode
from palaver.workers.models import Models
from palaver.workers.pauses import Pauses
from palaver.workers.policies import Policy, wrapped
from palaver.workers.prices import Prices
from palaver.workers.process import Process
from palaver.workers.requests import Requests
from palaver.workers.served import Served
from palaver.workers.tool_servers import ToolServers

__all__ = ["Answering"]


class Answering:
    """`models` and `agents`, over the providers of `served`; `code` runs what users wrote for them.

    `policies` are around each request to a provider, the first outermost; the cache is around them all.
    """

    def __init__(
        self,
        process: Process,
        *,
        served: Served,
        policies: Sequence[Policy],
        prices: Prices,
        paused: Pauses,
    ) -> None:
        settings, link, counts = process.settings, process.link, process.counts
        keys = process.ledger.keys
        self.code = UserCode(settings.tool_threads)
        self._agent_code = UserCode(settings.agent_threads, "agent")
        self._files = JobFiles.of(settings)
        self.tool_servers = ToolServers(settings, self.code)
        registry = Registry.load(settings.tools)
        functions = FunctionTools(registry.functions, self.code)
        self.toolbox = Toolbox.of(settings, [functions, *registry.sources, self.tool_servers])
        ask = wrapped([Cache.of(settings, link, keys, process.subscriptions), *policies])
        most = settings.max_answer_bytes
        self.models = Models(
            requests=Requests(
                served=served, ask=ask, prices=prices, paused=paused, counts=counts, answer_bytes=most
            ),
            toolbox=self.toolbox,
            prompts=Prompts(registry.prompts, self.code, seconds=settings.tool_seconds),
            attachments=Attachments(self._files, characters=settings.files_prompt_characters),
        )
        self.agents = Agents(
            Routes.load(settings.agents),
            link=link,
            keys=keys,
            code=self._agent_code,
            requests=AgentRequests(
                served=served, ask=ask, prices=prices, paused=paused, counts=counts, answer_bytes=most
            ),
            files=self._files,
            seconds=settings.agent_seconds,
            most=settings.max_document_bytes,
            log_content=settings.log_content,
        )

    async def start(self) -> None:
        """Connect to the servers of tools, as far as they are there."""
        await self.toolbox.start()

    async def renew(self) -> None:
        """Look at the files of the configuration again."""
        await self.tool_servers.renew()

    async def aclose(self) -> None:
        """End what runs of users' code, and close what is open. No job may run any more."""
        await self.toolbox.aclose()
        await self.code.aclose()
        await self._files.aclose()
        await self._agent_code.aclose()
