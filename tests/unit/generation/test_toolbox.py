"""A worker's sources of tools, and a job's share of them."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from palaver.shared.jobs import ChatJob
from palaver.shared.messages import ToolCall
from palaver.shared.tools import FunctionTool, ToolChoice
from palaver.workers.generation import Escaped, Kit, Offer, Result, Toolbox, ToolContext, ToolSource


class Store(ToolSource):
    """Tools that say whose they are; those that are called `late…` wait to be let go."""

    def __init__(self, name: str, *tools: str) -> None:
        self.name = name
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.cancelled = 0
        self.closed = False
        self._offers = {tool: Offer(FunctionTool(name=tool, description=f"{name}'s")) for tool in tools}

    async def tools(self) -> Mapping[str, Offer]:
        return self._offers

    async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> str:
        try:
            if name.startswith("late"):
                self.begun.set()
                await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return f"{self.name} {name} {dict(arguments)}"

    async def aclose(self) -> None:
        self.closed = True


def box(*sources: ToolSource, seconds: float = 10) -> Toolbox:
    return Toolbox(sources, seconds=seconds, output_bytes=100, rounds=3)


def job(*tools: Any, **fields: Any) -> ChatJob:
    return ChatJob(messages="?", tools=[{"name": t} if isinstance(t, str) else t for t in tools], **fields)


def calls(*names: str) -> list[ToolCall]:
    return [ToolCall(id=name, name=name, arguments={}) for name in names]


async def results(toolbox: Toolbox, asked: ChatJob, *names: str) -> list[Result]:
    kit = await toolbox.kit(asked)
    return [result async for result in toolbox.run(kit, calls(*names), asked, "s1")]


async def test_a_job_without_tools_has_none() -> None:
    toolbox = box(Store("a", "look"))
    assert await toolbox.kit(ChatJob(messages="?")) == Kit(rounds=3)


async def test_a_bare_name_is_filled_in_and_a_definition_is_the_callers() -> None:
    own = {"name": "add", "description": "Mine."}
    kit = await box(Store("a", "look", "add")).kit(job("look", own, "other"))
    assert [tool.description for tool in kit.definitions or []] == ["a's", "Mine.", None]
    assert sorted(kit.served) == ["look"]
    assert kit.unknown == ("other",)
    assert [kit.answers(call) for call in calls("look", "add", "other")] == [True, False, False]


async def test_of_two_tools_of_one_name_the_first_sources_counts() -> None:
    toolbox = box(Store("a", "look"), Store("b", "look", "add"))
    assert [r.content for r in await results(toolbox, job("look", "add"), "look", "add")] == [
        "a look {}",
        "b add {}",
    ]


class Own(Store):
    """Tools that are nobody else's, there or not."""

    def owns(self, name: str) -> bool:
        return name.startswith("own__")


async def test_all_tools_of_a_server_are_named_at_once() -> None:
    toolbox = box(Own("a", "own__look", "own__add"), Store("b", "look"))
    kit = await toolbox.kit(job("own__add", "own__*", "look"))
    assert [tool.name for tool in kit.definitions or []] == ["own__add", "own__look", "look"]
    assert not kit.missing


async def test_a_tool_that_is_not_there_is_left_out_and_its_calls_are_told_so() -> None:
    toolbox = box(Own("a"))
    defined = {"name": "own__mine", "description": "The caller's."}
    kit = await toolbox.kit(job("own__look", "other__*", defined))
    assert [tool.name for tool in kit.definitions or []] == ["own__mine"]
    assert kit.missing == ("own__look", "other__*")
    assert kit.unknown == ()
    late, made_up, callers = calls("own__look", "other__add", "own__mine")
    assert (kit.answers(late), kit.answers(made_up), kit.answers(callers)) == (True, True, False)
    (result,) = await results(toolbox, job("own__look"), "own__look")
    assert (result.is_error, result.content) == (
        True,
        "Error executing own__look: it is not there at present",
    )


async def test_a_choice_of_what_is_not_there_is_none() -> None:
    gone = await box(Own("a")).kit(job("own__look", "mine"))
    wanted = ToolChoice.model_validate("own__look")
    assert gone.choice(wanted) is None
    assert gone.choice(ToolChoice.model_validate("required")) is not None
    assert (await box(Own("a")).kit(job("own__look"))).choice(ToolChoice.model_validate("required")) is None
    assert (await box(Own("a", "own__look")).kit(job("own__look"))).choice(wanted) == wanted


async def test_results_come_as_they_are_ready() -> None:
    store = Store("a", "late", "look")
    toolbox = box(store)
    asked = job("late", "look")
    running = toolbox.run(await toolbox.kit(asked), calls("late", "look"), asked, "s1")
    assert (await anext(running)).name == "look"
    store.go.set()
    assert (await anext(running)).name == "late"
    assert [result async for result in running] == []


async def test_a_job_may_want_one_after_the_other() -> None:
    store = Store("a", "late", "look")
    asyncio.get_running_loop().call_later(0.05, store.go.set)
    asked = job("late", "look", parallel_tool_calls=False)
    assert [result.name for result in await results(box(store), asked, "late", "look")] == ["late", "look"]


async def test_what_still_runs_ends_when_nobody_takes_it() -> None:
    store = Store("a", "late", "late2")
    toolbox, asked = box(store), job("late", "late2")
    running = toolbox.run(await toolbox.kit(asked), calls("late", "late2"), asked, "s1")
    taking = asyncio.ensure_future(anext(running))
    await store.begun.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    await running.aclose()
    await asyncio.sleep(0)
    assert store.cancelled == 2


async def test_a_source_that_takes_too_long_is_told_and_left() -> None:
    store = Store("a", "late")
    (result,) = await results(box(store, seconds=0.05), job("late"), "late")
    assert result.is_error
    assert result.content == "Error executing late: no result within 0.05 seconds"
    assert store.cancelled == 1


async def test_half_a_surrogate_pair_becomes_text() -> None:
    class Halved(Store):
        async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> str:
            return "half \ud83d"

    (result,) = await results(box(Halved("a", "look")), job("look"), "look")
    assert result.content == "half ?"


def loses_its_connection() -> None:
    raise asyncio.CancelledError  # as its own future does that nobody will fulfil


def exits() -> None:
    raise SystemExit(1)


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("does", [loses_its_connection, exits])
async def test_what_a_source_raises_for_a_loop_is_told_to_the_model(
    does: Callable[[], None], *, parallel: bool
) -> None:
    class Odd(Store):
        async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> str:
            does()
            return await super().call(name, arguments, context)

    (result,) = await results(box(Odd("a", "look")), job("look", parallel_tool_calls=parallel), "look")
    kind = "SystemExit" if does is exits else "CancelledError"
    assert (result.is_error, result.content) == (True, f"Error executing look: {kind}")


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "null"),
        ({"n": 5}, '{"n":5}'),
        (object(), "Error executing look: the tool returned no JSON: object"),
    ],
)
async def test_what_a_source_returns_that_is_no_string_becomes_json(returned: Any, told: str) -> None:
    class Odd(Store):
        async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> Any:
            return returned

    (result,) = await results(box(Odd("a", "look")), job("look"), "look")
    assert result.content == told


@pytest.mark.parametrize("does", [loses_its_connection, exits])
async def test_a_source_that_cannot_tell_its_tools_raises_what_ends_one_job(does: Callable[[], None]) -> None:
    class Odd(Store):
        async def tools(self) -> Mapping[str, Offer]:
            does()
            return await super().tools()

    with pytest.raises(Escaped):
        await box(Odd("a", "look")).kit(job("look"))


async def test_sources_are_closed() -> None:
    store = Store("a")
    await box(store).aclose()
    assert store.closed


async def test_a_star_is_every_tool_that_there_is_now() -> None:
    kit = await box(Store("a", "look", "add"), Store("b", "look", "b__sum")).kit(job("*"))
    assert kit.served.keys() == {"look", "add", "b__sum"}
    assert kit.missing == ()
    nothing = await box(Store("a")).kit(job("*", {"name": "mine", "description": "The caller's."}))
    assert [tool.name for tool in nothing.definitions or []] == ["mine"]
    mine, made_up = calls("mine", "look")
    assert (nothing.answers(mine), nothing.answers(made_up)) == (False, True)
