"""Ollama's own dialect (`kind = "ollama"`): POST /api/chat.

Source: "API" in Ollama's documentation. Profile options: `options` (Ollama's own, under every job's),
`keep_alive`, `think_tags`, `max_event_bytes`.
"""

from collections.abc import Mapping
from typing import Any, Final

from palaver.shared.errors import ConfigurationError, PalaverError, ValidationError
from palaver.shared.messages import ImagePart, Message, Role
from palaver.shared.params import ReasoningOptions
from palaver.shared.profiles import Profile
from palaver.workers.http import HttpClient
from palaver.workers.providers import wire
from palaver.workers.providers.base import DialectRequest, GenerationRequest, HttpProvider
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.errors import response_error
from palaver.workers.providers.ollama_decoder import OllamaDecoder
from palaver.workers.providers.parts import WarningPart

OPTIONS: Final[dict[str, str]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "num_predict",
    "stop": "stop",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
"""Our parameters to Ollama's options."""

_MISSING: Final = ("logit_bias", "user")
_EFFORTS: Final = {"minimal": "low", "xhigh": "high"}


class OllamaDialect:
    """/api/chat: requests, decoders and errors."""

    base_url = "http://127.0.0.1:11434"
    models_path = "/api/tags"
    continues_prefix = True  # the server goes on with an assistant message at the end

    def __init__(self, profile: Profile) -> None:
        self._headers = wire.headers(profile)
        self._decoder_options = DecoderOptions.of(profile)
        self._keep_alive = profile.options.get("keep_alive")
        self._defaults = profile.options.get("options", {})
        if not isinstance(self._defaults, dict):
            raise ConfigurationError(
                f"provider {profile.name}: options.options must be a table", provider=profile.name
            )

    def headers(self) -> dict[str, str]:
        """The profile's headers; a key, if there is one, as `Authorization: Bearer`."""
        return dict(self._headers)

    def request(self, request: GenerationRequest) -> DialectRequest:
        """The body; None is never sent. `params.extra` is merged last and wins, its `options` key by key."""
        warnings: list[WarningPart] = []
        extra = dict(request.params.extra)
        options = {**self._defaults, **_options(request), **_own_options(extra)}
        body: dict[str, Any] = {
            "model": request.model,
            "messages": self._messages(request),
            "stream": request.stream,
        }
        if options:
            body["options"] = options
        if self._keep_alive is not None:
            body["keep_alive"] = self._keep_alive
        body |= _reasoning(request)
        body |= _format(request.params.response_format, warnings)
        body |= _tools(request, warnings)
        warnings += _unsupported(request)
        body |= extra
        return DialectRequest("/api/chat", body, tuple(warnings))

    def decoder(self, request: GenerationRequest) -> OllamaDecoder:
        """A decoder for a streamed or a whole answer."""
        return OllamaDecoder(self._decoder_options.asked(request.params))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> PalaverError:
        """See `Dialect.error`."""
        return response_error(status, headers, body)

    def models(self, body: bytes) -> list[str]:
        """The names of `models`."""
        return wire.names(body, "models", "name")

    def _messages(self, request: GenerationRequest) -> list[dict[str, Any]]:
        called = {call.id: call.name for message in request.messages for call in message.tool_calls or ()}
        messages = [_message(message, called, at) for at, message in enumerate(request.messages)]
        if request.prefix:
            messages.append({"role": "assistant", "content": request.prefix})
        return messages


class OllamaProvider(HttpProvider):
    """A server of Ollama, by a profile of `kind = "ollama"`."""

    continues_prefix = True

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        super().__init__(profile, http, OllamaDialect(profile))


def _message(message: Message, called: Mapping[str, str], position: int) -> dict[str, Any]:
    sent: dict[str, Any] = dict(message.model_extra or {})
    sent["role"] = "system" if message.role is Role.DEVELOPER else message.role.value
    sent["content"] = message.text
    if isinstance(message.content, list):
        images = [part.image_url.url for part in message.content if isinstance(part, ImagePart)]
        if images:
            sent["images"] = [_base64(url, position) for url in images]
    if message.tool_calls:
        sent["tool_calls"] = [
            {"function": {"name": call.name, "arguments": _arguments(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.role is Role.TOOL:
        name = message.name or called.get(message.tool_call_id or "")
        if name:
            sent["tool_name"] = name
    return sent


def _arguments(arguments: dict[str, Any] | str) -> dict[str, Any]:
    # The server takes objects only; what the model wrote instead of one is still told.
    return arguments if isinstance(arguments, dict) else {"arguments": arguments}


def _base64(url: str, position: int) -> str:
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise ValidationError(
            "Ollama takes images as base64 data URLs only; put the image itself into the message.",
            param=f"messages[{position}].content",
        )
    return data


def _options(request: GenerationRequest) -> dict[str, Any]:
    values = {name: getattr(request.params, ours) for ours, name in OPTIONS.items()}
    return {name: value for name, value in values.items() if value is not None}


def _own_options(extra: dict[str, Any]) -> dict[str, Any]:
    options = extra.get("options")
    return extra.pop("options") if isinstance(options, dict) else {}


def _reasoning(request: GenerationRequest) -> dict[str, Any]:
    options: ReasoningOptions | None = request.reasoning or request.params.reasoning
    if options is None or not options.enabled:
        return {}
    # Only gpt-oss has levels; other models take nothing but yes or no.
    if options.effort is not None and "gpt-oss" in request.model:
        return {"think": _EFFORTS.get(options.effort, options.effort)}
    return {"think": True}


def _format(wanted: dict[str, Any] | None, warnings: list[WarningPart]) -> dict[str, Any]:
    kind = (wanted or {}).get("type", "text")
    schema = (wanted or {}).get("json_schema")
    if kind == "json_schema" and isinstance(schema, dict) and isinstance(schema.get("schema"), dict):
        return {"format": schema["schema"]}
    if kind in ("json_schema", "json_object"):
        return {"format": "json"}
    if kind != "text":
        warnings.append(wire.unsupported("response_format"))
    return {}


def _tools(request: GenerationRequest, warnings: list[WarningPart]) -> dict[str, Any]:
    choice = request.tool_choice
    if not request.tools or (choice is not None and choice.mode == "none"):
        return {}
    if choice is not None and choice.mode != "auto":
        warnings.append(wire.unsupported("tool_choice"))
    if request.parallel_tool_calls is not None:
        warnings.append(wire.unsupported("parallel_tool_calls"))
    return {"tools": [tool.to_dict() for tool in request.tools]}


def _unsupported(request: GenerationRequest) -> list[WarningPart]:
    missing = [name for name in _MISSING if getattr(request.params, name) is not None]
    if request.params.n is not None and request.params.n > 1:
        missing.append("n")
    return [wire.unsupported(name) for name in missing]
