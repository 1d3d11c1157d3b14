"""The OpenAI dialect (`kind = "openai"`): any server that speaks chat/completions.

Source: OpenAI's API reference, "Chat completions"; what compatible servers do differently is in `flavours`.

Profile options: `flavour`, `api_version` (Azure's older paths), `think_tags` (thinking between <think> tags
is reasoning), `max_tokens_field` (`max_completion_tokens` for an unknown server that wants it),
`lists_models` (false for a server without a list of models), `max_event_bytes`.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from palaver.shared.errors import ConfigurationError, ModelNotFoundError, NotFoundError, PalaverError
from palaver.shared.messages import Message, Role
from palaver.shared.profiles import Profile, Resume
from palaver.workers.http import HttpClient
from palaver.workers.providers import wire
from palaver.workers.providers.base import (
    DialectRequest,
    GenerationRequest,
    HttpProvider,
    ModelInfo,
    Question,
)
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.errors import response_error
from palaver.workers.providers.flavours import FLAVOURS, Flavour, Paths, flavour_of, reasoning_fields
from palaver.workers.providers.openai_decoder import OpenAIDecoder
from palaver.workers.providers.parts import WarningPart

PARAMETERS: Final[dict[str, str | None]] = {name: name for name in wire.MAPPED}
"""Our parameters to those of chat/completions; a flavour may have other names."""

OPTIONS: Final = ("api_version", "flavour", "lists_models", "max_tokens_field")
"""Of a profile, beside those of every dialect."""

_FORMATS: Final = frozenset(("json_object", "json_schema"))
_NOT_SENT: Final = frozenset(("reasoning", "thinking_blocks"))  # of a message: other dialects' own


class OpenAIDialect:
    """chat/completions: requests, decoders and errors."""

    def __init__(self, profile: Profile, flavour: str | None = None) -> None:
        wire.check_options(profile, *OPTIONS)
        self._flavour = _flavour(profile, flavour)
        self.base_url = profile.base_url or self._flavour.base_url or ""
        if not self.base_url:
            raise ConfigurationError(
                f"provider {profile.name}: base_url is required with this flavour", provider=profile.name
            )
        self._headers = wire.headers(profile, self._flavour.key_header)
        self._decoder_options = DecoderOptions.of(profile)
        self._paths, self._api_version = _paths(self._flavour, profile)
        self._names = {**PARAMETERS, **self._flavour.parameters}
        if field := wire.name_option(profile, "max_tokens_field"):
            self._names["max_tokens"] = field
        # An operator who asks for prefixes knows the server; it then gets them as a last assistant message.
        known = self._flavour.prefix and self._flavour.prefix_at in self.base_url
        self.continues_prefix = known or profile.resume is Resume.PREFIX

    def headers(self) -> dict[str, str]:
        """The profile's headers, and the key in the flavour's header unless they hold one."""
        return dict(self._headers)

    def request(self, request: GenerationRequest) -> DialectRequest:
        """The body; None is never sent, and of `params.extra` what nothing else says."""
        stream = wire.streams(request, several=self._names["n"] is not None)
        warnings: list[WarningPart] = []
        body: dict[str, Any] = {**request.params.extra, "model": request.model}
        body["messages"] = self._messages(request)
        if stream:
            body["stream"] = True
        if stream and request.params.include_usage and self._flavour.stream_usage:
            body["stream_options"] = {"include_usage": True}
        body |= self._parameters(request, warnings, stream=stream)
        body |= _format(request.params.response_format, self._flavour.formats, warnings)
        thinking = request.reasoning or request.params.reasoning
        body |= reasoning_fields(self._flavour.reasoning, thinking, warnings)
        body |= _tools(request)
        if request.prefix and self.continues_prefix:
            body |= self._flavour.prefix_body
        return DialectRequest(self._path(self._paths.chat, request.model), body, tuple(warnings))

    def decoder(self, request: GenerationRequest) -> OpenAIDecoder:
        """A decoder for a streamed or a whole answer; it sees by itself which one comes."""
        return OpenAIDecoder(self._decoder_options.asked(request))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> PalaverError:
        """See `Dialect.error`."""
        return response_error(status, headers, body)

    def models_request(self) -> Question:
        """See `Dialect.models_request`."""
        return Question(self._path(self._paths.models))

    def models(self, body: bytes) -> list[str] | None:
        """The ids of `data`."""
        found = list(wire.listed(body, "data", "id"))
        return found if self._flavour.lists_models else None

    def show_request(self, model: str) -> Question:
        """The list: most of these servers have no address for a single model."""
        return self.models_request()

    def show(self, model: str, body: bytes) -> ModelInfo:
        """The model's entry in the list; `name:variant` (OpenRouter) may stand there as `name`."""
        found = wire.listed(body, "data", "id")
        details = found.get(model) or found.get(model.partition(":")[0])
        if details is None and self._flavour.lists_models:
            raise ModelNotFoundError
        details = details or {}
        return ModelInfo(
            name=model,
            context_length=wire.context_length(details, details.get("meta")),
            details=details,
        )

    def _path(self, path: str, model: str = "") -> str:
        return path.format(model=quote(model, safe=""), api_version=quote(self._api_version, safe=""))

    def _messages(self, request: GenerationRequest) -> list[dict[str, Any]]:
        messages = [self._message(message) for message in request.messages]
        if request.prefix and self.continues_prefix:
            messages.append({"role": "assistant", "content": request.prefix, **self._flavour.prefix_message})
        return messages

    def _message(self, message: Message) -> dict[str, Any]:
        given = message.payload()
        sent = {name: value for name, value in given.items() if value is not None and name not in _NOT_SENT}
        sent.setdefault("content", None)
        if not self._flavour.cache_marks:
            sent = _unmarked(sent)
        if message.role is Role.DEVELOPER and not self._flavour.developer_role:
            sent["role"] = "system"
        if not self._flavour.message_name:
            sent.pop("name", None)
        if message.tool_call_id is not None:
            sent["tool_call_id"] = wire.call_id(message.tool_call_id, self._flavour.call_id)
        if message.tool_calls:
            sent["tool_calls"] = [
                {
                    "id": wire.call_id(call.id, self._flavour.call_id),
                    "type": "function",
                    "function": {"name": call.name, "arguments": wire.arguments_text(call)},
                }
                for call in message.tool_calls
            ]
            if message.reasoning and self._flavour.reasoning_back:
                sent[self._flavour.reasoning_back] = message.reasoning
        return sent

    def _parameters(
        self, request: GenerationRequest, warnings: list[WarningPart], *, stream: bool
    ) -> dict[str, Any]:
        fields, missing = wire.parameters(request.params, self._names)
        warnings += missing
        if stream and fields.get("n", 1) > 1:
            del fields["n"]
            warnings.append(wire.unsupported("n", "A stream has one answer; n is left out."))
        return fields


def _unmarked(message: dict[str, Any]) -> dict[str, Any]:
    """The message without what Anthropic is told of its prompt cache."""
    parts = message["content"]
    if isinstance(parts, list):
        parts = [{name: part[name] for name in part if name != "cache_control"} for part in parts]
    return {**{name: message[name] for name in message if name != "cache_control"}, "content": parts}


def _flavour(profile: Profile, usual: str | None) -> Flavour:
    """The one that the profile names, else its usual one, else its host's."""
    named = profile.options.get("flavour", usual)
    if named is not None and (not isinstance(named, str) or named not in FLAVOURS):
        known = ", ".join(sorted(FLAVOURS))
        raise ConfigurationError(
            f"provider {profile.name}: options.flavour {named!r} is not known; choose one of {known}",
            provider=profile.name,
        )
    return flavour_of(profile.base_url, named)


def _paths(flavour: Flavour, profile: Profile) -> tuple[Paths, str]:
    version = profile.options.get("api_version")
    if version is None:
        return flavour.paths, ""
    if flavour.versioned is None:
        raise ConfigurationError(
            f"provider {profile.name}: options.api_version belongs to Azure; "
            "name its address as base_url, or flavour azure",
            provider=profile.name,
        )
    return flavour.versioned, str(version)


def _format(
    wanted: dict[str, Any] | None, formats: frozenset[str], warnings: list[WarningPart]
) -> dict[str, Any]:
    """`response_format`, as near to what is wanted as the server comes; types of its own pass."""
    kind = (wanted or {}).get("type")
    if wanted is None or kind in formats or kind not in _FORMATS:
        return {} if wanted is None else {"response_format": wanted}
    if kind == "json_schema" and "json_object" in formats:
        message = "This provider takes no JSON schema; it is asked for a JSON object of any kind."
        warnings.append(wire.unsupported("response_format", message))
        return {"response_format": {"type": "json_object"}}
    warnings.append(wire.unsupported("response_format"))
    return {}


def _tools(request: GenerationRequest) -> dict[str, Any]:
    if not request.tools:
        return {}
    fields: dict[str, Any] = {"tools": [tool.to_dict() for tool in request.tools]}
    if request.tool_choice is not None:
        fields["tool_choice"] = request.tool_choice.to_dict()
    if request.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = request.parallel_tool_calls
    return fields


class OpenAIProvider(HttpProvider):
    """Any OpenAI-compatible server, by a profile of `kind = "openai"`."""

    flavour: str | None = None
    """The flavour of a profile that names none; None: its host's."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        dialect = OpenAIDialect(profile, self.flavour)
        super().__init__(profile, http, dialect)
        self.continues_prefix = dialect.continues_prefix
        self._listless = not wire.flag(profile, "lists_models", True)

    @classmethod
    def gives_several(cls, profile: Profile) -> bool:
        """As its flavour: OpenAI's own does, some servers of its dialect do not."""
        return _flavour(profile, cls.flavour).parameters.get("n", "n") is not None

    async def models(self) -> list[str] | None:
        """See `Provider.models`. Of a server that has no list, as its profile says, none is missed."""
        try:
            return await super().models()
        except NotFoundError:
            if self._listless:
                return None
            raise

    async def show(self, model: str) -> ModelInfo:
        """See `Provider.show`; a server without a list has any model."""
        try:
            return await super().show(model)
        except ModelNotFoundError:
            if self._listless:
                return ModelInfo(name=model)
            raise


class AIMLProvider(OpenAIProvider):
    """The AI/ML API, by a profile of `kind = "aiml"`: OpenAI's dialect at its own address."""

    flavour = "aiml"
