"""Anthropic's dialect (`kind = "anthropic"`): POST /v1/messages, of Anthropic and of whoever speaks it.

Sources: Anthropic's API reference, "Messages"; its generations of models are in `claude`.

Profile options: `max_tokens` (of an answer whose job names none; the API wants a number), `think_tags`,
`max_event_bytes`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from palaver.shared.errors import PalaverError
from palaver.shared.messages import Message, Role
from palaver.shared.params import ReasoningOptions
from palaver.shared.profiles import Profile, Resume
from palaver.shared.tools import FunctionTool
from palaver.workers.http import HttpClient
from palaver.workers.providers import anthropic_messages, anthropic_schema, wire
from palaver.workers.providers.anthropic_decoder import AnthropicDecoder
from palaver.workers.providers.base import (
    DialectRequest,
    GenerationRequest,
    HttpProvider,
    ModelInfo,
    Question,
)
from palaver.workers.providers.claude import Generation, generation_of
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.errors import response_error
from palaver.workers.providers.flavours import budget_of
from palaver.workers.providers.parts import WarningPart

BASE_URL: Final = "https://api.anthropic.com"
VERSION: Final = "2023-06-01"
DEFAULT_MAX_TOKENS: Final = 8192

PARAMETERS: Final[dict[str, str | None]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_tokens",
    "stop": "stop_sequences",
    "presence_penalty": None,
    "frequency_penalty": None,
    "logit_bias": None,
    "user": "metadata",
    "n": None,
    "seed": None,
}
"""Our parameters to those of the messages API."""

_SAMPLING: Final = ("temperature", "top_p", "top_k")
_LEAST_BUDGET: Final = 1024
_LEAST_THINKING_TOP_P: Final = 0.95


class AnthropicDialect:
    """/v1/messages: requests, decoders and errors."""

    def __init__(self, profile: Profile) -> None:
        wire.check_options(profile, "max_tokens")
        # Paths begin with the version, which many write behind the address, as for other dialects.
        self.base_url = (profile.base_url or BASE_URL).removesuffix("/v1")
        self._headers = wire.headers(profile, "x-api-key")
        if not any(name.lower() == "anthropic-version" for name in self._headers):
            self._headers["anthropic-version"] = VERSION
        self._decoder_options = DecoderOptions.of(profile)
        self.max_tokens = wire.option(profile, "max_tokens", DEFAULT_MAX_TOKENS)
        self._always_prefix = profile.resume is Resume.PREFIX

    def headers(self) -> dict[str, str]:
        """The version, the profile's headers, and its key as `x-api-key` unless they hold one."""
        return dict(self._headers)

    def takes_prefix(self, request: GenerationRequest) -> bool:
        """Whether the model goes on after an assistant message: older ones do, unless they are to think."""
        generation = generation_of(request.model)
        return (generation.prefix and _thinking_options(request) is None) or self._always_prefix

    def request(self, request: GenerationRequest) -> DialectRequest:
        """The body; None is never sent, and of `params.extra` what nothing else says."""
        generation = generation_of(request.model)
        fields, warnings = wire.parameters(request.params, PARAMETERS)
        most = fields.pop("max_tokens", self.max_tokens)
        thinking = _thinking(request, generation, warnings, most)
        _fit_sampling(fields, generation, warnings, thinks=bool(thinking))
        _fit_stops(fields, warnings)
        body: dict[str, Any] = {
            **request.params.extra,
            "model": request.model,
            # What may be thought comes on top, unless the job says otherwise: max_tokens bounds its answer.
            "max_tokens": most + thinking.pop("budget", 0),
            "messages": self._messages(request),
            "stream": wire.streams(request, several=False),
        }
        if said := anthropic_messages.system(request.messages):
            body["system"] = said
        if "metadata" in fields:
            fields["metadata"] = {"user_id": fields["metadata"]}
        body |= fields
        body |= _output(request, generation, thinking, warnings)
        body |= thinking
        body |= _tools(request, warnings, thinks=bool(thinking))
        return DialectRequest("/v1/messages", body, tuple(warnings))

    def decoder(self, request: GenerationRequest) -> AnthropicDecoder:
        """A decoder for a streamed or a whole answer; it sees by itself which one comes."""
        options = self._decoder_options.asked(request)
        return AnthropicDecoder(replace(options, after=_unsent(request.prefix)))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> PalaverError:
        """See `Dialect.error`."""
        return response_error(status, headers, body)

    def models_request(self) -> Question:
        """See `Dialect.models_request`."""
        return Question("/v1/models?limit=1000")

    def models(self, body: bytes) -> list[str]:
        """The ids of `data`."""
        return list(wire.listed(body, "data", "id"))

    def show_request(self, model: str) -> Question:
        """The model's own address, which knows aliases too."""
        return Question(f"/v1/models/{quote(model, safe='')}")

    def show(self, model: str, body: bytes) -> ModelInfo:
        """See `Dialect.show`."""
        details = wire.document(body)
        return ModelInfo(name=model, context_length=wire.context_length(details), details=details)

    def _messages(self, request: GenerationRequest) -> list[dict[str, Any]]:
        messages = anthropic_messages.conversation(request.messages)
        if request.prefix and (said := request.prefix.rstrip()):
            messages.append({"role": "assistant", "content": said})
        return messages


class AnthropicProvider(HttpProvider):
    """Anthropic, or a server that speaks its messages API, by a profile of `kind = "anthropic"`."""

    dialect: AnthropicDialect

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        super().__init__(profile, http, AnthropicDialect(profile))

    @property
    def default_max_tokens(self) -> int:
        """The API wants a number."""
        return self.dialect.max_tokens

    @classmethod
    def gives_several(cls, profile: Profile) -> bool:
        """One: the API has no `n`."""
        return False

    def takes_prefix(self, request: GenerationRequest) -> bool:
        """See `Provider.takes_prefix`."""
        return self.dialect.takes_prefix(request)


def _unsent(prefix: str | None) -> str:
    """The white space at the end of a prefix, which the API refuses."""
    return (prefix or "")[len((prefix or "").rstrip()) :]


def _thinking_options(request: GenerationRequest) -> ReasoningOptions | None:
    options = request.reasoning or request.params.reasoning
    return options if options is not None and options.enabled else None


def _thinking(
    request: GenerationRequest, generation: Generation, warnings: list[WarningPart], most: int
) -> dict[str, Any]:
    """`thinking`, and how many tokens it may take beyond the `most` of the answer as `budget`; nothing unless
    it is asked for.
    """
    options = _thinking_options(request)
    if options is None:
        return {}
    budget = max(budget_of(options), _LEAST_BUDGET)
    if not generation.adaptive and _answers_unsigned_calls(request.messages):
        told = (
            "The calls of tools that are being answered have no signed thinking; the model cannot think now."
        )
        warnings.append(wire.unsupported("reasoning", told))
        return {}
    if not generation.adaptive and options.within and most <= _LEAST_BUDGET:
        told = f"To think within max_tokens, which is {most}, they have to be more than {_LEAST_BUDGET}."
        warnings.append(wire.unsupported("reasoning", told))
        return {}
    if options.within:
        budget = min(budget, most - 1)
    elif not generation.adaptive and budget != budget_of(options):
        told = f"Anthropic's least budget for thinking is {_LEAST_BUDGET} tokens, which is sent instead."
        warnings.append(WarningPart("parameter_changed", told, "reasoning.max_tokens"))
    beyond = 0 if options.within else budget
    if not generation.adaptive:
        return {"thinking": {"type": "enabled", "budget_tokens": budget}, "budget": beyond}
    if options.max_tokens is not None:
        told = "This model decides itself how many tokens it thinks; the bound is left out."
        warnings.append(wire.unsupported("reasoning.max_tokens", told))
    # Newer models think in silence unless they are asked for a summary.
    return {"thinking": {"type": "adaptive", "display": "summarized"}, "budget": beyond}


def _answers_unsigned_calls(messages: Sequence[Message]) -> bool:
    """Whether the conversation ends with results of calls that another model, or one that did not think, has
    made.
    """
    caller = next((message for message in reversed(messages) if message.role is not Role.TOOL), None)
    if caller is None or not caller.tool_calls:
        return False
    return not (caller.model_extra or {}).get("thinking_blocks")


def _fit_sampling(
    fields: dict[str, Any], generation: Generation, warnings: list[WarningPart], *, thinks: bool
) -> None:
    """Take out what the model would refuse the whole request for."""
    for name in _SAMPLING:
        value = fields.get(name)
        allowed = not thinks or (name == "top_p" and (value or 0) >= _LEAST_THINKING_TOP_P)
        if value is not None and not (generation.sampling and allowed):
            del fields[name]
            when = " while it thinks" if generation.sampling else ""
            told = f"This model takes no {name}{when}; it is left out."
            warnings.append(wire.unsupported(name, told))
    if "temperature" in fields and "top_p" in fields and not generation.both:
        del fields["top_p"]
        told = "This model takes no top_p beside a temperature; it is left out."
        warnings.append(wire.unsupported("top_p", told))
    if fields.get("temperature", 0) > 1:
        fields["temperature"] = 1.0
        told = "Anthropic's temperature ends at 1, which is sent instead."
        warnings.append(WarningPart("parameter_changed", told, "temperature"))


def _fit_stops(fields: dict[str, Any], warnings: list[WarningPart]) -> None:
    stops = fields.pop("stop_sequences", [])
    if kept := [stop for stop in stops if stop.strip()]:
        fields["stop_sequences"] = kept
    if len(kept) < len(stops):
        told = "Anthropic takes no stop sequence of white space alone; such ones are left out."
        warnings.append(WarningPart("parameter_changed", told, "stop"))


def _output(
    request: GenerationRequest, generation: Generation, thinking: dict[str, Any], warnings: list[WarningPart]
) -> dict[str, Any]:
    """`output_config`: the effort of a model that has no budget, and the schema of the answer."""
    config: dict[str, Any] = {}
    options = _thinking_options(request)
    if options is not None and options.effort is not None and generation.adaptive:
        config["effort"] = generation.efforts.get(options.effort, options.effort)
    wanted = request.params.response_format or {}
    told = wanted.get("json_schema")
    schema = anthropic_schema.closed(told.get("schema")) if isinstance(told, dict) else None
    if generation.schema and isinstance(schema, dict) and anthropic_schema.takes(schema):
        config["format"] = {"type": "json_schema", "schema": schema}
    elif wanted.get("type", "text") != "text":
        warnings.append(wire.unsupported("response_format"))
    return {"output_config": config} if config else {}


def _tools(request: GenerationRequest, warnings: list[WarningPart], *, thinks: bool) -> dict[str, Any]:
    if not request.tools:
        return {}
    choice: dict[str, Any] = {}
    if request.tool_choice is not None:
        choice = _choice(request.tool_choice.mode, request.tool_choice.name)
    if thinks and choice.get("type") in ("any", "tool"):
        told = "A model that thinks cannot be told to call a tool; it decides itself."
        warnings.append(wire.unsupported("tool_choice", told))
        choice = {"type": "auto"}
    if request.parallel_tool_calls is not None and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": not request.parallel_tool_calls}
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in request.tools]}
    return {**fields, "tool_choice": choice} if choice else fields


def _choice(mode: str, name: str | None) -> dict[str, Any]:
    if name is not None:
        return {"type": "tool", "name": name}
    return {"type": {"required": "any"}.get(mode, mode)}


def _tool(tool: FunctionTool) -> dict[str, Any]:
    sent: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
    if tool.description is not None:
        sent["description"] = tool.description
    if tool.strict:
        sent["strict"] = True
    if tool.cache_control is not None:
        sent["cache_control"] = tool.cache_control
    return sent
