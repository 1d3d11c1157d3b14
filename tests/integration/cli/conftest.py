"""A folder to run `palaver` in, and a running `palaver dev`."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.shell import Dev, Inside, Shell

CONFIGURATION = """
[providers.scripted]
kind = "scripted"
[providers.anew]
kind = "scripted"
resume = "restart"
[providers.priced]
kind = "scripted"
prices = { echo = { input = 1, output = 1 } }
[models]
default = ["scripted/echo"]
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One stack for all tests that do not disturb it; they are in one group, so that it starts once."""
    folder = tmp_path_factory.mktemp("dev")
    (folder / "palaver.toml").write_text(CONFIGURATION)
    with Shell(folder).dev("--no-flower") as running:
        yield running


@pytest.fixture
def served(dev: Dev, inside: Inside) -> Inside:
    """Commands in the folder of `dev`, without a process of their own."""
    inside.folder = dev.shell.folder
    return inside


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]
