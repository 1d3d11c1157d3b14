"""Servers of others, as real as the registries have them, in processes of their own. See tests/README.md."""

import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palaver.shared.messages import parse_messages
from palaver.shared.params import ChatParams
from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers import GenerationRequest, Part, Provider, create
from tests.integration.providers.conftest import Gathering
from tests.model_server import ModelServer, start_model_server
from tests.processes import ROOT, Processes
from tests.servers import free_port, missing

HERE = Path(__file__).parent
PEERS = ROOT / ".venv" / "peers"
LITELLM_KEY = "sk-peer-12345678"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.peers)


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start what was installed into .venv/peers."""
    if not (PEERS / ".ready").exists():
        missing("there is no .venv/peers: make peers")
    with Processes(tmp_path_factory.mktemp("peers")) as processes:
        yield processes


@pytest.fixture(scope="session")
def tiny_model(peers: Processes) -> Path:
    """A model of a few hundred kilobytes, built once."""
    model, script = PEERS / "tiny.gguf", HERE / "tiny_gguf.py"
    if not model.exists() or model.stat().st_mtime < script.stat().st_mtime:
        subprocess.run([PEERS / "bin" / "python", script, model], check=True, timeout=60)
    return model


@pytest.fixture(scope="session")
def llama_cpp(peers: Processes, tiny_model: Path) -> str:
    """llama.cpp's own server: OpenAI's dialect and Anthropic's."""
    port = free_port()
    script = HERE / "serve_llama_cpp.py"
    running = peers.start((PEERS / "bin" / "python", script, tiny_model, str(port)), name="llama.cpp")
    running.wait_for(r"^listening at", seconds=60)
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def llama_cpp_python(peers: Processes, tiny_model: Path) -> str:
    """The server of llama-cpp-python, which is another one."""
    return start_llama_cpp_python(peers, tiny_model)


@pytest.fixture(scope="session")
def calling_llama_cpp_python(peers: Processes, tiny_model: Path) -> str:
    """The same, with a grammar for calls of tools."""
    return start_llama_cpp_python(peers, tiny_model, "--chat_format", "chatml-function-calling")


def start_llama_cpp_python(peers: Processes, tiny_model: Path, *options: str) -> str:
    """Start one more; its address."""
    port = free_port()
    address = ("--host", "127.0.0.1", "--port", str(port))
    model = ("--model", str(tiny_model), "--model_alias", "tiny", "--n_ctx", "1024")
    command = (str(PEERS / "bin" / "python"), "-m", "llama_cpp.server", *address, *model, *options)
    peers.start(command, name="llama-cpp-python").wait_for(r"Uvicorn running on", seconds=60)
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def words(peers: Processes) -> ModelServer:
    """Our own model server, behind LiteLLM: it can be told what to say and how to fail."""
    return start_model_server(peers)


@pytest.fixture(scope="session")
def litellm(peers: Processes, words: ModelServer, llama_cpp: str) -> str:
    """LiteLLM's proxy: OpenAI's dialect and Anthropic's, translated to and from those behind it."""
    port = free_port()

    def model(name: str, served: str, **more: Any) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"model": served, "api_key": "none", **more}}

    config = peers.folder / "litellm.yaml"
    config.write_text(
        json.dumps(  # which is YAML too
            {
                "model_list": [
                    model("words", "hosted_vllm/m", api_base=words.openai_url),
                    model("tiny", "hosted_vllm/tiny", api_base=f"{llama_cpp}/v1"),
                    model("said/so:once", "openai/x", mock_response="Grüße 日本 👩‍🚀"),
                ],
                "general_settings": {"master_key": LITELLM_KEY},
                "litellm_settings": {"telemetry": False, "num_retries": 0},
            },
            ensure_ascii=False,
        )
    )
    # Without this it asks the network for prices when it starts.
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    options = ("--config", config, "--host", "127.0.0.1", "--port", str(port))
    command = (PEERS / "bin" / "litellm", *options)
    peers.start(command, name="litellm", env=quiet).wait_for(r"Uvicorn running on", seconds=120)
    return f"http://127.0.0.1:{port}"


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


class Peer:
    """A provider on somebody else's server, and one model there."""

    def __init__(self, provider: Provider, model: str) -> None:
        self.provider = provider
        self.model = model

    async def parts(self, messages: Any, *, found: list[Part] | None = None, **fields: Any) -> list[Part]:
        """The answer; what has come of it is in `found`, also when this raises. A dict scripts `words`."""
        parts: list[Part] = [] if found is None else found
        asked = json.dumps(messages) if isinstance(messages, dict) else messages
        params = ChatParams(**fields.pop("params", {}))
        request = GenerationRequest(model=self.model, messages=parse_messages(asked), params=params, **fields)
        await self.provider.answer(request, Gathering(parts))
        return parts


@pytest.fixture
def peer(http: HttpClient) -> Callable[..., Peer]:
    """`peer(kind, base_url, model, **profile fields)`."""

    def make(kind: str, base_url: str, model: str, **fields: Any) -> Peer:
        # Anthropic's paths begin with /v1; OpenAI's have it in the address.
        url = base_url if kind == "anthropic" else f"{base_url}/v1"
        return Peer(create(Profile(**{"name": "p", "kind": kind, "base_url": url, **fields}), http), model)

    return make
