"""A model server of one's own, and providers on it over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from palaver.shared.messages import parse_messages
from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers import GenerationRequest, Part, Provider, TextDelta, create
from tests.model_server import ModelServer, start_model_server
from tests.processes import Processes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with Processes(tmp_path_factory.mktemp("model-server")) as processes:
        yield start_model_server(processes)


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


class Gathering:
    """A sink that keeps everything, and with `narrow` asks for a pause after each read."""

    def __init__(self, found: list[Part], *, narrow: bool = False) -> None:
        self.found = found
        self.narrow = narrow
        self.full = False
        self.speaks = asyncio.Event()
        self.pauses = 0

    def take(self, parts: list[Part]) -> bool:
        assert not (self.full and text_of(parts)), "nothing more was to be read"
        self.found.extend(parts)
        self.full = self.narrow
        if text_of(parts):
            self.speaks.set()
        return not self.full

    async def room(self) -> None:
        self.pauses += 1
        await asyncio.sleep(0.01)  # another delta comes meanwhile
        self.full = False


class Talk:
    """One provider, asked with the model server's scripts."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def request(self, script: dict[str, Any] | str, **fields: Any) -> GenerationRequest:
        text = script if isinstance(script, str) else json.dumps(script)
        return GenerationRequest(model="m", messages=parse_messages(text), **fields)

    async def parts(self, script: dict[str, Any] | str, **fields: Any) -> list[Part]:
        """The whole answer."""
        found: list[Part] = []
        await self.into(found, script, **fields)
        return found

    async def into(self, found: list[Part], script: dict[str, Any] | str, **fields: Any) -> None:
        """The answer as far as it comes: what is in `found` has arrived, also when this raises."""
        await self.provider.answer(self.request(script, **fields), Gathering(found))


def text_of(parts: list[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


@pytest.fixture(params=["openai", "ollama", "anthropic"])
def kind(request: pytest.FixtureRequest) -> str:
    """Runs the test over every dialect."""
    return str(request.param)


@pytest.fixture
def talk(kind: str, server: ModelServer, http: HttpClient) -> Callable[..., Talk]:
    """`talk(**profile fields)`: a provider of the dialect at the model server."""

    def make(**fields: Any) -> Talk:
        url = server.openai_url if kind == "openai" else server.origin
        return Talk(create(Profile(**{"name": "p", "kind": kind, "base_url": url, **fields}), http))

    return make
