"""`palaver check`: what it says of good and of bad providers, each asked in its own dialect."""

import json
import socket
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.integration.cli.shell import Shell
from tests.model_server import ModelServer, start_model_server
from tests.processes import Processes, cheaper
from tests.servers import free_port

KEY = "sk-canary-123456"


@pytest.fixture
def model_server(processes: Processes) -> ModelServer:
    return start_model_server(processes)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {json.dumps(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def configure(
    shell: Shell, models: str = "", *, table: str = "providers", **profiles: Mapping[str, object]
) -> None:
    tables = []
    for name, fields in profiles.items():
        lines = [f"{key} = {toml(value)}" for key, value in fields.items()]
        tables += [f"[{table}.{name}]", *lines]
    (shell.folder / "palaver.toml").write_text("\n".join([*tables, "[models]", models]))


def test_every_provider_answers(shell: Shell, model_server: ModelServer) -> None:
    configure(
        shell,
        cloud={"kind": "openai", "base_url": model_server.openai_url, "api_key_env": "CLOUD_KEY"},
        local={"kind": "ollama", "base_url": model_server.ollama_url},
        echo={"kind": "scripted", "models": ["echo"]},
    )
    shell.environment["CLOUD_KEY"] = KEY
    shell.environment["PALAVER_TENANTS"] = '{"acme": {"spend_hard": 5}}'
    done = shell.run("check")
    assert (done.returncode, done.stderr) == (0, "")
    header, cloud, local, echo = done.stdout.splitlines()
    assert header.split() == ["NAME", "SERVER"]
    assert cloud.startswith(f"cloud   {model_server.openai_url}")
    assert all("answered in" in line for line in (cloud, local, echo))
    assert KEY not in done.stdout
    assert ["no price is known" in line for line in (cloud, local, echo)] == [False, False, True]
    assert echo.endswith("; no price is known for echo")


def test_every_server_of_tools_is_asked_for_them(shell: Shell, processes: Processes, silent: str) -> None:
    port = free_port()
    processes.python("-m", "tests.mcp_server", str(port), env={"SHOP_KEY": KEY}).wait_for("^listening$")
    patient = {"connect_seconds": 40}  # of a machine that does much else, a process needs seconds to begin
    behind = {"url": f"http://127.0.0.1:{port}/mcp", **patient}
    command, *words = cheaper((sys.executable, "-m", "tests.mcp_server"))
    piped = {"command": command, "args": words, **patient}
    configure(
        shell,
        table="mcp",
        shop={**behind, "api_key_env": "SHOP_KEY"},
        wrong={**behind, "headers": {"Authorization": f"Bearer {KEY}wrong"}},
        keyless={**behind, "api_key_env": "NOT_THERE"},
        process={**piped, "tools": ["price", "die"]},
        less={**piped, "tools": ["price", "nope"]},
        silent={"url": silent, "connect_seconds": 0.5},
        none={"command": "no-such-command"},
    )
    shell.environment["SHOP_KEY"] = KEY
    done = shell.run("check", "--json")
    assert done.returncode == 1
    found = {each["name"]: each for each in json.loads(done.stdout)}
    tools = ["price", "process", "stall", "much", "picture", "die", "grow", "flood"]
    assert (found["mcp.shop"]["problem"], found["mcp.shop"]["tools"]) == (None, tools)
    assert (found["mcp.process"]["problem"], found["mcp.process"]["tools"]) == (None, ["price", "die"])
    problems = {name: each["problem"] for name, each in found.items()}
    assert problems["mcp.wrong"] == "it cannot be reached: HTTP 401"
    assert problems["mcp.keyless"] == "the variable NOT_THERE is not set"
    assert problems["mcp.less"] == "it does not have nope"
    assert problems["mcp.silent"] == "it did not answer in time"
    assert problems["mcp.none"] == "it cannot be reached: FileNotFoundError"
    assert KEY not in done.stdout + done.stderr
    one = shell.run("check", "mcp.shop")
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout.splitlines()[1].endswith(f" ms: {', '.join(tools)}")


UNWELL = """
from palaver.workers.providers import Provider

class Unwell(Provider):
    async def models(self):
        raise RuntimeError("canary")

    async def aclose(self):
        raise KeyError("canary")
"""


def test_each_problem_is_told(shell: Shell, model_server: ModelServer, silent: str) -> None:
    cloud = {"kind": "openai", "base_url": model_server.openai_url}
    (shell.folder / "own.py").write_text(UNWELL)
    configure(
        shell,
        'fast = ["cloud/no-such-model"]',
        cloud=cloud,
        keyless={**cloud, "api_key_env": "NOT_THERE"},
        unknown={"kind": "nope"},
        own={"kind": "own:Unwell"},
        options={**cloud, "options": {"flavour": ["vllm"]}},
        away={"kind": "openai", "base_url": "http://user:canary@127.0.0.1:9/v1"},
        silent={"kind": "ollama", "base_url": silent},
    )
    done = shell.run("check", "--json")
    assert done.returncode == 1
    problems = {each["name"]: each["problem"] for each in json.loads(done.stdout)}
    assert problems["cloud"] == "it does not list no-such-model"
    assert "NOT_THERE is not set" in problems["keyless"]
    assert "no kind 'nope'" in problems["unknown"]
    assert problems["own"] == "own:Unwell raised RuntimeError"
    assert "flavour" in problems["options"]
    assert "cannot be reached" in problems["away"]
    assert problems["silent"] == "no answer within 8 seconds"
    assert "canary" not in done.stdout


def test_only_the_profiles_that_are_named(shell: Shell) -> None:
    configure(shell, a={"kind": "scripted"}, b={"kind": "nope"})
    done = shell.run("check", "a", "--json")
    assert done.returncode == 0
    assert [each["name"] for each in json.loads(done.stdout)] == ["a"]


@pytest.mark.parametrize(
    ("config", "words", "told"),
    [
        ("[providers.", [], "palaver.toml is not valid TOML"),
        ("[mcp.shop]", [], "mcp.shop: needs either a url or a command"),
        ("", ["x"], "there is no provider 'x'"),
    ],
)
def test_wrong_usage(shell: Shell, config: str, words: list[str], told: str) -> None:
    (shell.folder / "palaver.toml").write_text(config)
    done = shell.run("check", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("palaver check: ")
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
