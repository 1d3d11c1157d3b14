"""Tools as a user meets them: the READMEs' programs, a worker process, a scripted model that calls."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.pages import program
from tests.processes import ROOT, Processes, Running

pytestmark = [pytest.mark.redis, pytest.mark.worker]

CONFIG = """
[providers.demo]
kind = "scripted"
[providers.demo.options.scripts.shop]
tool_calls = [{ name = "price", arguments = { item = "tea" } }]
[providers.demo.options.scripts.sky]
tool_calls = [{ name = "look", arguments = { at = "the sky" } }]
[models]
default = "demo/sky"
"""


@pytest.fixture(autouse=True)
def config(palaver_env: dict[str, str]) -> None:
    Path(palaver_env["PALAVER_CONFIG"]).write_text(CONFIG)


def test_a_function_becomes_a_tool_of_the_workers(
    worker: Callable[..., Running], palaver_env: dict[str, str], processes: Processes
) -> None:
    (processes.folder / "shop").mkdir()
    (processes.folder / "shop" / "tools.py").write_text(program(ROOT / "README.md", "@tool"))
    worker(env={"PALAVER_TOOLS": "shop.tools"})  # started in the folder that has it
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"], config=palaver_env["PALAVER_CONFIG"])
    with Client(settings) as client:
        question = "What does a tea cost?"
        answer = client.submit(question, model="demo/shop", tools=[{"name": "price"}], wait=True, timeout=30)
    assert (answer.content, answer.finish_reason, answer.tool_calls) == ("4.5", "stop", [])


def test_the_caller_answers_the_calls_itself(
    worker: Callable[..., Running], palaver_env: dict[str, str], processes: Processes
) -> None:
    worker()
    page = ROOT / "workers" / "palaver" / "workers" / "generation" / "README.md"
    caller = processes.start(
        (sys.executable, "-c", program(page, "tool_calls")), name="caller", env=palaver_env
    )
    assert caller.wait() == 0, caller.output
    caller.drained()
    assert caller.lines[-1] == "the sky: blue"


def test_a_module_that_is_not_there_is_named(processes: Processes, palaver_env: dict[str, str]) -> None:
    env = {**palaver_env, "PALAVER_TOOLS": "no.such.module"}
    running = processes.start(("palaver", "worker"), name="worker", env=env)
    assert running.wait(60) == 2
    running.drained()
    assert "PALAVER_TOOLS: no.such.module cannot be imported" in running.output
    assert "Traceback" not in running.output
