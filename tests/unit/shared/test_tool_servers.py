"""Servers of tools in palaver.toml: what may be said of them, and what stays secret."""

from pathlib import Path
from typing import Any

import pytest

from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.settings import Settings
from palaver.shared.tool_servers import ToolServer, load_tool_servers
from palaver.shared.tools import FunctionTool, is_named

TABLE = """
[mcp.shop]
url = "https://shop.example/mcp?token=hunter2"
api_key_env = "SHOP_TOKEN"
headers = { X-Team = "hunter2" }
timeout = 5

[mcp.files]
command = "files-server"
args = ["--key", "hunter2"]
env = { KEY = "hunter2" }
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("SHOP_TOKEN", "hunter2")
    (tmp_path / "palaver.toml").write_text(TABLE)
    return Settings(config=str(tmp_path / "palaver.toml"))


def test_servers_are_read_from_the_file(settings: Settings) -> None:
    shop, files = load_tool_servers(settings)
    assert shop.request_headers() == {"Authorization": "Bearer hunter2", "X-Team": "hunter2"}
    assert (shop.timeout, shop.connect_seconds) == (5, 10)
    assert (files.command, files.args, files.process_env()) == (
        "files-server",
        ["--key", "hunter2"],
        {"KEY": "hunter2"},
    )


def test_the_environment_wins(settings: Settings) -> None:
    own = settings.model_copy(update={"mcp": {"files": {"command": "other"}}})
    assert load_tool_servers(own)[1].command == "other"


def test_no_secret_is_told(settings: Settings) -> None:
    for server in load_tool_servers(settings):
        assert "hunter2" not in repr(server)
        assert "hunter2" not in server.model_dump_json()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "mcp.shop: needs either a url or a command"),
        ({"url": "http://x", "command": "y"}, "mcp.shop: needs either a url or a command"),
        ({"url": "ftp://x"}, "mcp.shop.url: must begin with http:// or https://"),
        ({"url": "http://x", "args": ["--secret"]}, "mcp.shop.args: is not for a server with a url"),
        ({"command": "x", "headers": {"a": "b"}}, "mcp.shop.headers: is not for a server with a command"),
        ({"command": "x", "colour": "red"}, "mcp.shop.colour: is not a known field"),
        ({"command": "x", "timeout": 0}, "mcp.shop.timeout: must be above 0"),
        ("x", "mcp.shop: must be a table"),
    ],
)
def test_what_is_wrong_is_named(table: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_tool_servers(Settings(mcp={"shop": table}))


@pytest.mark.parametrize("name", ["", "a_b", "a/b", "ä", "x" * 33])
def test_a_name_must_fit_into_that_of_a_tool(name: str) -> None:
    with pytest.raises(ValidationError, match="letters, digits or hyphens"):
        ToolServer(name=name, command="x")


def test_a_variable_that_is_not_set_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    assert ToolServer(name="a", command="x", env_vars=["PATH", "NOT_SET"]).missing() == "NOT_SET"
    assert load_tool_servers(Settings(mcp={"a": {"url": "http://x", "api_key_env": "NOT_SET"}}))[0].missing()
    assert ToolServer(name="a", command="x", env_vars=["PATH"]).missing() is None


def test_a_job_may_name_all_tools_of_a_server() -> None:
    (tool,) = ChatJob(messages="?", tools=[{"name": "shop__*"}]).tools or []
    assert is_named(tool.name, "shop__price")
    assert not is_named(tool.name, "shopping__price")
    assert not is_named("shop__price", "shop__prices")


@pytest.mark.parametrize("name", ["**", "shop_*", "shop__*__*", "__*"])
def test_a_star_is_for_nothing_else(name: str) -> None:
    with pytest.raises(ValidationError, match="letters, digits"):
        FunctionTool(name=name)
