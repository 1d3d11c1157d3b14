"""Tools that a model may call, as definitions: they ride in the job as JSON."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from palaver.shared.document import Document
from palaver.shared.plain import Flag, JsonObject, Text, optional, refuse, shape

ALL: Final = "__*"
"""The end of a name that means all tools of a server of tools."""
EVERY: Final = "*"
"""The name that means all tools of the worker."""
_ANY_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


def _tool_name(value: str) -> str:
    if value != EVERY and not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", value.removesuffix(ALL)):
        raise ValueError("must be 1 to 128 letters, digits, underscores, dots or hyphens")
    return value


def is_pattern(name: str) -> bool:
    """Whether a name means any number of tools."""
    return name == EVERY or name.endswith(ALL)


def is_named(pattern: str, name: str) -> bool:
    """Whether a job that names `pattern` means the tool `name`: `shop__*` is all of a server's, `*` all."""
    if pattern == EVERY:
        return True
    return name.startswith(pattern[:-1]) if pattern.endswith(ALL) else pattern == name


ToolName = Annotated[Text, AfterValidator(_tool_name)]


class FunctionTool(Document):
    """A function that the model may call; `parameters` is the JSON Schema of its arguments. `cache_control`,
    which Anthropic knows: the prompt up to this tool is to be cached.

    OpenAI's nested form (`{"type": "function", "function": {…}}`) is taken too, and is what `to_dict` gives.
    """

    name: ToolName
    description: Text | None = optional()
    parameters: JsonObject = Field(default_factory=lambda: dict(_ANY_ARGUMENTS))
    strict: Flag = False
    cache_control: JsonObject | None = optional()

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "type" not in value:
            return value
        if value["type"] != "function":
            raise ValueError("type must be function")
        function = value.get("function")
        if function is not None and not isinstance(function, Mapping):
            raise ValueError(f"function must be an object, not {shape(function)}")
        flat = {k: v for k, v in value.items() if k not in ("type", "function")} | dict(function or {})
        return {k: v for k, v in flat.items() if v is not None}

    @property
    def is_bare(self) -> bool:
        """Whether it is a name and nothing else: the worker that runs the tool knows the rest."""
        return self.description is None and self.parameters == _ANY_ARGUMENTS

    def to_dict(self) -> dict[str, Any]:
        """The form of chat/completions; `strict` only if true, a description only if there is one."""
        function: dict[str, Any] = {"name": self.name}
        if self.description is not None:
            function["description"] = self.description
        function["parameters"] = self.parameters
        if self.strict:
            function["strict"] = True
        return {"type": "function", "function": function}


class ToolChoice(Document):
    """Which tools the model shall use: by itself (`auto`), any (`required`), none, or the one that is named.

    Made from a mode, a function's name, or OpenAI's object.
    """

    mode: Literal["auto", "required", "none", "function"]
    name: ToolName | None = optional()

    @model_validator(mode="before")
    @classmethod
    def _from_any(cls, value: Any) -> Any:
        if isinstance(value, str):
            return (
                {"mode": value}
                if value in ("auto", "required", "none")
                else {"mode": "function", "name": value}
            )
        if isinstance(value, Mapping) and "type" in value:
            return cls._from_object(value)
        return value

    @classmethod
    def _from_object(cls, value: Mapping[str, Any]) -> dict[str, Any]:
        function = value.get("function", value)
        if value["type"] != "function" or not isinstance(function, Mapping) or not function.get("name"):
            raise ValueError("an object must name a function: {type: function, function: {name}}")
        return {"mode": "function", "name": function["name"]}

    @model_validator(mode="after")
    def _name_fits_mode(self) -> "ToolChoice":
        if (self.mode == "function") != (self.name is not None):
            raise ValueError("a name belongs to the mode function, and to no other")
        return self

    @property
    def demands(self) -> bool:
        """Whether the model has to call a tool."""
        return self.mode in ("required", "function")

    def to_dict(self) -> str | dict[str, Any]:
        """The form of chat/completions: the mode, or the object that names the function."""
        if self.name is None:
            return self.mode
        return {"type": "function", "function": {"name": self.name}}


def check_tools(tools: Sequence[FunctionTool], choice: ToolChoice | None) -> None:
    """Raises ValidationError for two tools of one name, and for a demand of a call that cannot be made."""
    names: dict[str, None] = {}
    for position, tool in enumerate(tools):
        if tool.name in names:
            refuse(f"tools[{position}].name", f"is that of another tool too: {tool.name}")
        names[tool.name] = None
    if choice is None or not choice.demands:
        return
    if not names:
        refuse("tool_choice", "demands the call of a tool, and the job has none")
    if choice.name is not None and not any(is_named(name, choice.name) for name in names):
        refuse("tool_choice", f"names {choice.name!r}, which is none of the job's tools")
