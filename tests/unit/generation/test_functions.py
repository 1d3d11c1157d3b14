"""Python functions as tools: their definitions, their arguments, their results."""

import threading
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from palaver.shared.errors import ConfigurationError
from palaver.workers.generation import FunctionTools, ToolContext, ToolError, UserCode, tool
from palaver.workers.generation.functions import MARK


class Place(BaseModel):
    city: str
    country: str = "CH"


def context(**fields: Any) -> ToolContext:
    return ToolContext(**({"job_id": "j", "session_id": "s", "call_id": "c"} | fields))


async def run(function: Any, arguments: dict[str, Any], where: ToolContext | None = None) -> str:
    code = UserCode(4)
    try:
        return await FunctionTools({"f": getattr(function, MARK)}, code).call(
            "f", arguments, where or context()
        )
    finally:
        await code.aclose()


def definition(function: Any) -> dict[str, Any]:
    sent: dict[str, Any] = getattr(function, MARK).offer.definition.to_dict()["function"]
    return sent


def test_a_functions_signature_is_its_definition() -> None:
    @tool
    def book(
        place: Place,
        day: date,
        *,
        kind: Literal["room", "bed"] = "bed",
        guests: Annotated[int, Field(ge=1, description="How many.")] = 1,
        where: ToolContext,
    ) -> str:
        """Book a night."""
        return ""

    assert definition(book) == {
        "name": "book",
        "description": "Book a night.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"$ref": "#/$defs/Place"},
                "day": {"type": "string", "format": "date"},
                "kind": {"type": "string", "enum": ["room", "bed"], "default": "bed"},
                "guests": {"type": "integer", "minimum": 1, "default": 1, "description": "How many."},
            },
            "required": ["place", "day"],
            "additionalProperties": False,
            "$defs": {
                "Place": {
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "country": {"type": "string", "default": "CH"},
                    },
                    "required": ["city"],
                }
            },
        },
    }


def test_what_is_given_comes_before_what_is_found() -> None:
    @tool(name="now", description="The time.", timeout=3, strict=True)
    def clock() -> str:
        """Not this."""
        return "noon"

    assert definition(clock) == {
        "name": "now",
        "description": "The time.",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        "strict": True,
    }
    assert getattr(clock, MARK).offer.timeout == 3
    assert clock() == "noon"  # and it stays a function


async def test_arguments_are_what_the_annotations_say() -> None:
    @tool
    def tell(place: Place, day: date, model_config: int, copy: str = "x") -> str:
        return f"{type(place).__name__} {place.city} {day:%d.%m.%Y} {model_config + 1} {copy}"

    arguments = {"place": {"city": "Bern"}, "day": "2026-11-02", "model_config": "6"}
    assert await run(tell, arguments) == "Place Bern 02.11.2026 7 x"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "city: is required"),
        ({"city": 5}, "city: must be a string, not 5"),
        ({"city": "Bern", "day": 1}, "day: is not a known field"),
        ({"city": ["secret"]}, "city: must be a string, not a list of 1"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(arguments: dict[str, Any], told: str) -> None:
    @tool
    def weather(city: str) -> str:
        return city

    with pytest.raises(ToolError, match=told):
        await run(weather, arguments)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("as it is", "as it is"),
        ("", ""),
        (None, "null"),
        ({"a": [1, 2.5, date(2026, 11, 2)]}, '{"a":[1,2.5,"2026-11-02"]}'),
        (Place(city="Bern"), '{"city":"Bern","country":"CH"}'),
    ],
)
async def test_results_become_text(result: Any, text: str) -> None:
    @tool
    async def give() -> Any:
        return result

    assert await run(give, {}) == text


async def test_a_result_that_is_no_json_is_told() -> None:
    @tool
    def give() -> Any:
        return threading.Lock()

    with pytest.raises(ToolError, match="returned no JSON: lock"):
        await run(give, {})


async def test_user_code_runs_away_from_the_loop_of_the_streams() -> None:
    @tool
    def plain(where: ToolContext) -> str:
        return f"{threading.current_thread().name} {where.call_id}"

    @tool
    async def coroutine(where: ToolContext) -> str:
        return f"{threading.current_thread().name} {where.call_id}"

    assert await run(plain, {}) == "palaver-tool c"
    assert await run(coroutine, {}) == "palaver-tools c"


def variable(*cities: str) -> str:
    return ""


def positional(city: str, /) -> str:
    return ""


def unknown(city: "Nowhere") -> str:  # type: ignore[name-defined] # noqa: F821
    return ""


def no_json(city: threading.Lock) -> str:
    return ""


@pytest.mark.parametrize("function", [variable, positional, unknown, no_json, lambda: ""])
def test_what_no_json_can_call_is_refused(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="tool '"):
        tool(function)
