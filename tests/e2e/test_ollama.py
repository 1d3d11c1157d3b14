"""Document 001's integration test: always with our model server, and by `pytest -m integration` with an
Ollama of this machine (OLLAMA_HOST, by default 127.0.0.1:11434) that has the model llama2.
"""

import os
import urllib.request

import pytest

from palaver.producer.interfaces import ChatManager, Clients
from palaver.workers.testing import LocalSystem
from tests.model_server import start_model_server
from tests.processes import Processes
from tests.servers import missing


async def ask_llama2(url: str) -> None:
    """The calls of the document; a provider that is named by its class is no double."""
    ollama = {"kind": "palaver.workers.providers.ollama:OllamaProvider", "base_url": url}
    models = {"llama2": "local/llama2"}
    with LocalSystem(providers={"local": ollama}, models=models) as system:
        async with Clients(system.settings) as clients, ChatManager(clients=clients) as chat:
            await chat.initialize_model("llama2")
            response = await chat.send_message("Simple test")
            assert response.content
            assert response.model_name == "llama2"


@pytest.fixture
def ollama() -> str:
    host = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434")
    url = host if "://" in host else f"http://{host}"
    try:
        urllib.request.urlopen(f"{url}/api/version", timeout=2).close()  # noqa: S310
    except (OSError, ValueError):
        missing(f"no Ollama answers at {url}")
    return url


@pytest.mark.integration
async def test_ollama_integration(ollama: str) -> None:
    await ask_llama2(ollama)


async def test_the_same_with_a_server_of_its_dialect(processes: Processes) -> None:
    await ask_llama2(start_model_server(processes).ollama_url)
