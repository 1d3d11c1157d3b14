"""Tools of servers that speak MCP: real ones, on the official package, as processes of their own."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytest

from palaver.shared.errors import ConfigurationError
from palaver.shared.jobs import ChatJob
from palaver.shared.settings import Settings
from palaver.shared.tool_servers import ToolServer
from palaver.workers.service import WorkerService
from tests.integration.workers.conftest import Engine, MakeEngine
from tests.integration.workers.doubles import Scripting
from tests.integration.workers.test_engine import end_of
from tests.integration.workers.test_tools import calling, of, rounds
from tests.processes import ROOT, Processes, Running, cheaper
from tests.servers import free_port

pytestmark = pytest.mark.redis

SCRIPT = ROOT / "tests" / "mcp_server.py"
KEY = "sesame-4711"
ALL = {"name": "shop__*"}
PRICE = {"name": "shop__price"}


def piped(**more: Any) -> dict[str, Any]:
    """A server over its pipes: forked, for the package alone takes it most of a second to import."""
    command, *args = cheaper((sys.executable, "-m", "tests.mcp_server"))
    return {"command": command, "args": args, "env": {"SHOP_KEY": KEY}, **more}


class Shop:
    """A server behind HTTP that can be ended and started again."""

    def __init__(self, processes: Processes, *options: str) -> None:
        self.port = free_port()
        self._start: Callable[[], Running] = lambda: processes.python(
            "-m", "tests.mcp_server", str(self.port), *options, env={"SHOP_KEY": KEY}
        )
        self.table = {
            "url": f"http://127.0.0.1:{self.port}/mcp",
            "headers": {"Authorization": f"Bearer {KEY}"},
        }

    def start(self) -> Running:
        running = self._start()
        running.wait_for("^listening$")
        return running


@pytest.fixture
def shop(processes: Processes) -> Shop:
    return Shop(processes)


@pytest.fixture(params=["newer", "older"])
def any_shop(request: pytest.FixtureRequest, processes: Processes) -> Shop:
    """Of the protocol without sessions, and of the one with them that most servers speak."""
    return Shop(processes, *(["--older"] if request.param == "older" else []))


async def result(engine: Engine, name: str, tools: Any = (ALL,), **arguments: Any) -> dict[str, Any]:
    """What the one call of a job came to."""
    events = await engine.answer(rounds(calling(name, **arguments), {"text": "ok"}), tools=list(tools))
    assert end_of(events)["status"] == "completed"
    (data,) = of(events, "tool_result")
    return data


async def served(engine: Engine, job_tools: Any = (ALL,)) -> tuple[list[str], list[dict[str, Any]]]:
    """The tools that a model is told of, and the warnings that readers get."""
    events = await engine.answer("hello", model="scripting/echo", tools=list(job_tools))
    request = engine.provider("scripting", Scripting).asked[-1]
    return sorted(tool.name for tool in request.tools or []), of(events, "warning")


async def until(engine: Engine, name: str) -> None:
    """Return when a tool is there: the server has to be reached, or to have told of it."""
    async with asyncio.timeout(30):
        while name not in (await served(engine))[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def missing(engine: Engine) -> Any:
    """What the worker tells of servers of tools that are not there."""
    return engine.service._presence.told()["tools_missing"]


def runs(pid: str) -> bool:
    """Whether a process is there and has not ended; nobody may have taken notice of its end."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False)
    return found.stdout.strip()[:1] not in ("", "Z")


async def test_a_tool_of_a_process_is_called(make_engine: MakeEngine) -> None:
    engine = await make_engine(mcp={"shop": piped()})
    assert (await result(engine, "shop__price", [PRICE], item="tea"))["content"] == "tea: 4.50"
    await engine.answer("hello", model="scripting/echo", tools=[PRICE])
    (tool,) = engine.provider("scripting", Scripting).asked[-1].tools or []
    assert (tool.name, tool.description) == ("shop__price", "What an item costs.")
    assert tool.parameters["required"] == ["item"]


async def test_a_tool_behind_http_is_called_with_the_key(
    make_engine: MakeEngine, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_SHOP", KEY)
    shop.start()
    engine = await make_engine(mcp={"shop": {"url": shop.table["url"], "api_key_env": "KEY_OF_SHOP"}})
    assert (await result(engine, "shop__price", item="tea"))["content"] == "tea: 4.50"


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("price", {"item": "nothing"}, "Error executing tool price"),
        ("price", {}, "Field required"),
        ("stall", {}, "no result within 3 seconds"),
        ("die", {}, "the connection to its server was lost; it may have run"),
        ("nope", {}, "there is no such function"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(
    make_engine: MakeEngine, tool: str, arguments: dict[str, Any], said: str
) -> None:
    engine = await make_engine(mcp={"shop": piped(timeout=3.0 if tool == "stall" else 30.0)})
    told = await result(engine, f"shop__{tool}", **arguments)
    assert told["is_error"]
    assert said in told["content"]
    assert (await result(engine, "shop__price", item="tea"))["content"] == "tea: 4.50"


async def test_results_are_bounded_and_what_is_no_text_is_named(make_engine: MakeEngine) -> None:
    engine = await make_engine(mcp={"shop": piped()}, tool_output_bytes=50)
    assert (await result(engine, "shop__much", size=3_000_000))["content"] == (
        "x" * 50 + "\n[cut: 3000000 characters are more than 50 bytes]"
    )
    assert (await result(engine, "shop__picture"))["content"] == "[image/png, 3 bytes, left out]"


async def test_a_gigabyte_is_not_read(make_engine: MakeEngine, shop: Shop) -> None:
    shop.start()
    engine = await make_engine(mcp={"shop": shop.table})
    assert (await result(engine, "shop__price", item="tea"))["content"] == "tea: 4.50"
    before = getrusage(RUSAGE_SELF).ru_maxrss
    for packed in (False, True):
        assert (await result(engine, "shop__flood", packed=packed))["is_error"]
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 300 * 1024
    assert (await result(engine, "shop__price", item="tea"))["content"] == "tea: 4.50"


async def test_servers_may_have_tools_of_one_name(make_engine: MakeEngine) -> None:
    other = piped(env={"SHOP_KEY": "other"}, tools=["process"])
    engine = await make_engine(mcp={"shop": piped(tools=["process", "price"]), "annex": other})
    names, _ = await served(engine, [ALL, {"name": "annex__*"}, PRICE])
    assert names == ["annex__process", "shop__price", "shop__process"]
    said = [(await result(engine, f"{name}__process", [ALL, {"name": "annex__process"}]))["content"].split()
            for name in ("shop", "annex")]  # fmt: skip
    assert [words[1] for words in said] == [KEY, "other"]


async def test_a_process_gets_no_variable_that_nobody_named(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALAVER_REDIS_URL", "redis://:hunter2@127.0.0.1:1")
    monkeypatch.setenv("SHOP_KEY", "passed on")
    engine = await make_engine(mcp={"shop": piped(env={}, env_vars=["SHOP_KEY"])})
    _, rest = (await result(engine, "shop__process"))["content"].split(" ", 1)
    assert rest == "passed on None"


async def test_a_worker_serves_without_a_server_and_has_its_tools_when_it_comes(
    make_engine: MakeEngine, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    engine = await make_engine(mcp={"shop": shop.table})
    names, warnings = await served(engine, [PRICE, {"name": "mine", "description": "The caller's."}])
    assert names == ["mine"]
    assert [(warning["code"], warning["param"]) for warning in warnings] == [("tools_missing", "tools")]
    assert "shop__price" in warnings[0]["message"]
    assert "mcp.unreachable server=shop error=ConnectError" in caplog.text
    assert missing(engine) == {"shop": "ConnectError"}
    shop.start()
    await until(engine, "shop__price")
    assert missing(engine) == {}
    assert (await result(engine, "shop__price", item="tea"))["content"] == "tea: 4.50"


async def test_a_choice_of_a_tool_that_is_not_there_is_none(make_engine: MakeEngine) -> None:
    engine = await make_engine(mcp={"shop": piped(command="no-such-command")})
    events = await engine.answer("hello", model="scripting/echo", tools=[PRICE], tool_choice="shop__price")
    assert end_of(events)["status"] == "completed"
    (request,) = engine.provider("scripting", Scripting).asked
    assert (request.tools, request.tool_choice) == (None, None)


async def test_a_server_that_was_started_anew_is_found_again(make_engine: MakeEngine, any_shop: Shop) -> None:
    shop = any_shop
    first = shop.start()
    engine = await make_engine(mcp={"shop": shop.table})
    assert (await result(engine, "shop__price", item="tea"))["content"] == "tea: 4.50"
    first.kill()
    assert (await result(engine, "shop__price", item="tea"))["is_error"]
    second = shop.start()
    await until(engine, "shop__process")
    told = await result(engine, "shop__process")
    assert told["content"].split()[0] == str(second.pid)


async def test_a_session_that_the_server_forgot_is_begun_anew(
    make_engine: MakeEngine, processes: Processes
) -> None:
    shop = Shop(processes, "--older")
    first = shop.start()
    engine = await make_engine(mcp={"shop": shop.table})
    assert (await result(engine, "shop__price", item="tea"))["content"] == "tea: 4.50"
    first.kill()
    second = shop.start()
    told = await result(engine, "shop__process")
    assert told["content"].split()[0] == str(second.pid)


async def test_other_tools_are_heard_of(make_engine: MakeEngine, any_shop: Shop) -> None:
    shop = any_shop
    shop.start()
    engine = await make_engine(mcp={"shop": shop.table})
    assert "shop__grown" not in (await served(engine))[0]
    await result(engine, "shop__grow")
    await until(engine, "shop__grown")
    assert (await result(engine, "shop__grown", item="tea"))["content"] == "tea: 4.50"


class Tables:
    """The `[mcp.…]` tables of a palaver.toml, which a test writes again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path.with_name("servers.log")

    def write(self, **servers: dict[str, str]) -> None:
        """Each server is a process with these variables."""
        text = ""
        for name, fields in servers.items():
            served = piped()
            text += f'[mcp.{name}]\ncommand = "{served["command"]}"\nargs = {served["args"]}\n'
            text += f'log = "{self.log}"\n'
            text += "env = {" + ", ".join(f'{key} = "{value}"' for key, value in fields.items()) + "}\n"
        self.path.write_text(text)


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(tmp_path / "palaver.toml")


async def test_servers_come_change_and_go_while_a_worker_runs(
    make_engine: MakeEngine, tables: Tables
) -> None:
    tables.write()
    engine = await make_engine(config=str(tables.path))
    tools = [{"name": "shop__process"}, {"name": "annex__process"}]
    assert await offered(engine, tools) == set()
    tables.write(shop={"SHOP_KEY": "first"}, annex={"SHOP_KEY": "annex"})
    await renewed(engine)
    assert await offered(engine, tools) == {"shop__process", "annex__process"}
    stays = (await result(engine, "annex__process", tools))["content"]
    old, key, _ = (await result(engine, "shop__process", tools))["content"].split()
    assert key == "first"
    tables.write(shop={"SHOP_KEY": "second"}, annex={"SHOP_KEY": "annex"})
    await renewed(engine)
    assert (await result(engine, "shop__process", tools))["content"].split()[1] == "second"
    assert (await result(engine, "annex__process", tools))["content"] == stays
    await gone(old)
    tables.write(annex={"SHOP_KEY": "annex"})
    await renewed(engine)
    assert await offered(engine, [{"name": "shop__*"}]) == set()
    assert (await result(engine, "annex__process", tools))["content"] == stays


async def test_a_call_that_runs_ends_before_its_server_goes(make_engine: MakeEngine, tables: Tables) -> None:
    tables.write(shop={"SHOP_KEY": KEY})
    engine = await make_engine(config=str(tables.path))
    pid = (await result(engine, "shop__process"))["content"].split()[0]
    job = await engine.submit(rounds(calling("shop__stall", seconds=1.5), {"text": "ok"}), tools=[ALL])
    running = asyncio.create_task(engine.run(job))
    async with asyncio.timeout(20):
        while "stalling" not in tables.log.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    tables.write()
    await renewed(engine)
    await running
    (told,) = of(await engine.events(job), "tool_result")
    assert (told["content"], told["is_error"]) == ("late", False)
    await gone(pid)


async def test_tables_that_cannot_be_read_change_nothing(
    make_engine: MakeEngine, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    tables.write(shop={"SHOP_KEY": KEY})
    engine = await make_engine(config=str(tables.path))
    pid = (await result(engine, "shop__process"))["content"].split()[0]
    for broken in ("[mcp.shop", "[mcp.shop]\n", f'[mcp.shop]\nurl = "{KEY}"\n'):
        tables.path.write_text(broken)
        assert not await engine.service._workshop.answering.tool_servers.renew()
    assert caplog.text.count("tools.refused") == 3
    assert KEY not in caplog.text
    assert (await result(engine, "shop__process"))["content"].split()[0] == pid
    tables.write(shop={"SHOP_KEY": KEY})
    assert not await engine.service._workshop.answering.tool_servers.renew()  # they are what they were


async def offered(engine: Engine, tools: list[dict[str, Any]]) -> set[str]:
    """Those of these tools that a worker has: a model that is told of no others calls none of them."""
    kit = await engine.service._workshop.answering.toolbox.kit(ChatJob(messages="hello", tools=tools))
    return set(kit.served)


async def renewed(engine: Engine) -> None:
    """Have the worker look at its file, as it does every other second."""
    assert await engine.service._workshop.answering.tool_servers.renew()


async def gone(pid: str) -> None:
    async with asyncio.timeout(20):
        while runs(pid):  # noqa: ASYNC110 - a process tells nobody
            await asyncio.sleep(0.05)


async def test_a_connection_ends_at_whatever_moment_it_is_told_to() -> None:
    """Cancelled while it fails, the package's task group tells of the failure alone."""
    from palaver.workers.mcp.connection import Connection  # not in every process that collects the tests

    nobody = ToolServer(name="shop", url=f"http://127.0.0.1:{free_port()}/mcp")
    for turns in range(40):
        connection = Connection(nobody)
        running = asyncio.create_task(connection.run())
        await asyncio.sleep(turns * 0.0005)
        connection.end()
        async with asyncio.timeout(10):
            await asyncio.wait([running])


async def test_a_process_ends_with_its_worker(make_engine: MakeEngine) -> None:
    engine = await make_engine(mcp={"shop": piped(command=sys.executable, args=[str(SCRIPT)])})
    pid = (await result(engine, "shop__process"))["content"].split()[0]
    assert runs(pid)
    await engine.service.drain(0)
    await engine.service.close()
    assert not runs(pid)


async def test_a_start_that_fails_leaves_nothing_of_it(make_engine: MakeEngine) -> None:
    before = asyncio.all_tasks()
    nowhere = "192.0.2.1:9000"  # no address of any machine
    with pytest.raises(ConfigurationError, match=nowhere):
        await make_engine(mcp={"shop": piped()}, metrics_address=nowhere)
    assert asyncio.all_tasks() == before


async def test_nothing_of_it_is_in_the_log(
    make_engine: MakeEngine, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shop.start()
    engine = await make_engine(mcp={"shop": shop.table, "annex": piped()})
    secret = "s3cr3t-argument"
    for name in ("shop__price", "annex__price"):
        assert secret in (await result(engine, name, [ALL, {"name": "annex__*"}], item=secret))["content"]
    assert "mcp.connected server=annex tools=8" in caplog.text
    assert not [word for word in (KEY, secret) if word in caplog.text]
    assert KEY not in repr(engine.service.settings)


async def test_a_variable_that_is_not_set_leaves_its_server_out(
    make_engine: MakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine = await make_engine(mcp={"shop": piped(env_vars=["NOT_SET_ANYWHERE"])})
    assert 'reason="the variable NOT_SET_ANYWHERE is not set"' in caplog.text
    assert missing(engine) == {"shop": "the variable NOT_SET_ANYWHERE is not set"}
    assert [warning["code"] for warning in (await served(engine))[1]] == ["tools_missing"]


async def test_without_the_package_a_worker_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("palaver.workers.mcp")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'palaver\[mcp\]'"):
        WorkerService(Settings(mcp={"shop": piped()}))


def test_a_killed_worker_leaves_no_process(
    worker: Callable[..., Running], processes: Processes, tmp_path: Any
) -> None:
    """SIGKILL to the worker alone: its server sees the end of its input."""
    (tmp_path / "palaver.toml").write_text(
        f'[mcp.shop]\ncommand = "{sys.executable}"\nargs = ["{SCRIPT}"]\nlog = "{tmp_path}/shop.log"\n'
    )
    running = worker(env={"PALAVER_CONFIG": str(tmp_path / "palaver.toml")})
    running.wait_for("mcp.connected server=shop")
    pid = (tmp_path / "shop.log").read_text().split()[1]
    assert runs(pid)
    os.kill(running.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
