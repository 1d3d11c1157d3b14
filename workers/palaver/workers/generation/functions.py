"""Python functions as tools.

    @tool
    async def weather(city: str, days: int = 1) -> str:
        "The weather of a city, today or for some days."
        return await forecast(city, days)

Coroutine functions run on the tools' own loop, plain functions in threads. The arguments that a model gives
are validated by the annotations, by pydantic; a parameter annotated with `ToolContext` gets that. A result
that is no string becomes JSON.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_type_hints, overload

import pydantic
from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import to_json

from palaver.shared.document import validation_error
from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.tools import FunctionTool
from palaver.workers.generation.source import Offer, ToolContext, ToolError, ToolSource
from palaver.workers.generation.user_code import UserCode

__all__ = ["Function", "FunctionTools", "text_of", "tool"]

MARK: Final = "__palaver_tool__"
"""The attribute by which a function is found again in its module."""

F = TypeVar("F", bound=Callable[..., Any])


@overload
def tool(function: F) -> F: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    strict: bool = False,
) -> Callable[[F], F]: ...


def tool(
    function: Any = None,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    strict: bool = False,
) -> Any:
    """Register a function as a tool of the workers that import its module (`PALAVER_TOOLS`). It stays itself.

    Its name and docstring are the model's, unless others are given; `timeout` in seconds. Raises
    ConfigurationError for a signature that no JSON object of arguments can fill.
    """

    def register(function: F) -> F:
        called = name or str(getattr(function, "__name__", ""))
        about = description or inspect.getdoc(function)
        setattr(function, MARK, _registered(function, called, about, timeout, strict=strict))
        return function

    return register if function is None else register(function)


@dataclass(frozen=True, slots=True)
class Function:
    """A registered function. `names` are its parameters by the fields of `arguments`."""

    function: Callable[..., Any]
    offer: Offer
    arguments: type[BaseModel]
    names: Mapping[str, str]
    context: str | None  # the parameter that gets the ToolContext

    @property
    def is_async(self) -> bool:
        """Whether it belongs on a loop."""
        return inspect.iscoroutinefunction(self.function)

    def call(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """Run a plain function."""
        return text_of(self.function(**self._bound(arguments, context)))

    async def acall(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """Run a coroutine function."""
        return text_of(await self.function(**self._bound(arguments, context)))

    def _bound(self, arguments: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        problem = None
        try:
            given = self.arguments.model_validate(dict(arguments))
        except pydantic.ValidationError as error:
            problem = validation_error(error).message
        if problem is not None:
            raise ToolError(problem)
        bound = {name: getattr(given, field) for field, name in self.names.items()}
        return bound | ({self.context: context} if self.context else {})


class FunctionTools(ToolSource):
    """The registered functions of a worker."""

    def __init__(self, functions: Mapping[str, Function], code: UserCode) -> None:
        self._functions = functions
        self._code = code
        self._offers = {name: function.offer for name, function in functions.items()}

    async def tools(self) -> Mapping[str, Offer]:
        """See `ToolSource.tools`."""
        return self._offers

    async def call(self, name: str, arguments: Mapping[str, Any], context: ToolContext) -> str:
        """See `ToolSource.call`."""
        function = self._functions[name]
        run = function.acall if function.is_async else function.call
        result: str = await self._code.run(run, arguments, context)
        return result


def _registered(
    function: Callable[..., Any], name: str, description: str | None, timeout: float | None, *, strict: bool
) -> Function:
    try:
        arguments, names, context = _signature(function)
        definition = FunctionTool(
            name=name, description=description, parameters=_schema(arguments), strict=strict
        )
    except (ValidationError, PydanticUserError) as error:
        problem = error.message or ""
    except (AttributeError, NameError, TypeError, ValueError) as error:
        problem = f"its signature cannot be read: {error}"
    else:
        return Function(function, Offer(definition, timeout), arguments, names, context)
    raise ConfigurationError(f"tool {name!r}: {problem}")


def _signature(function: Callable[..., Any]) -> tuple[type[BaseModel], dict[str, str], str | None]:
    """The model of a function's arguments, its fields' parameters, and the one that gets the context.

    The fields have names of their own: a parameter may be called as pydantic's own attributes are.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    context = None
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise TypeError(f"{parameter} cannot be given by its name")
        kind = hints.get(parameter.name, Any)
        if kind is ToolContext:
            context = parameter.name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[f"argument_{place}"] = (kind, Field(default, alias=parameter.name))
        names[f"argument_{place}"] = parameter.name
    config = ConfigDict(extra="forbid", hide_input_in_errors=True)
    return create_model("Arguments", __config__=config, **fields), names, context


def _schema(arguments: type[BaseModel]) -> dict[str, Any]:
    schema: dict[str, Any] = arguments.model_json_schema()
    schema.setdefault("properties", {})
    return _untitled(schema)


def _untitled(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the titles that pydantic makes of names: tokens for nothing."""
    schema.pop("title", None)
    for value in schema.get("properties", {}).values():
        _untitled(value)
    for value in schema.get("$defs", {}).values():
        _untitled(value)
    return schema


def text_of(result: Any) -> str:
    """A tool's result as the model is told it. Raises ToolError for what is no JSON."""
    if isinstance(result, str):
        return result
    try:
        return to_json(result).decode()
    except ValueError:
        pass
    raise ToolError(f"the tool returned no JSON: {type(result).__name__}")
