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
from palaver.workers.providers.base import (
    DialectRequest,
    GenerationRequest,
    HttpProvider,
    ModelInfo,
    Question,
)
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.errors import response_error
from palaver.workers.providers.flavours import uncarried
from palaver.workers.providers.ollama_decoder import OllamaDecoder
from palaver.workers.providers.parts import WarningPart

BASE_URL: Final = "http://127.0.0.1:11434"

PARAMETERS: Final[dict[str, str | None]] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "num_predict",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "logit_bias": None,
    "user": None,
    "n": None,
    "seed": "seed",
}
"""Our parameters to Ollama's options."""

_EFFORTS: Final = {"minimal": "low", "xhigh": "high"}


class OllamaDialect:
    """/api/chat: requests, decoders and errors."""

    continues_prefix = True  # the server goes on with an assistant message at the end

    def __init__(self, profile: Profile) -> None:
        wire.check_options(profile, "keep_alive", "options")
        self.base_url = (profile.base_url or BASE_URL).removesuffix("/api")
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
        """The body; None is never sent, and of `params.extra`, and its `options`, what nothing else says."""
        given, warnings = wire.parameters(request.params, PARAMETERS)
        extra = dict(request.params.extra)
        options = {**_own_options(extra), **self._defaults, **given}
        body: dict[str, Any] = {
            **extra,
            "model": request.model,
            "messages": self._messages(request),
            "stream": wire.streams(request, several=False),
        }
        if options:
            body["options"] = options
        if self._keep_alive is not None:
            body["keep_alive"] = self._keep_alive
        body |= _reasoning(request, warnings)
        body |= _format(request.params.response_format, warnings)
        body |= _tools(request, warnings)
        return DialectRequest("/api/chat", body, tuple(warnings))

    def decoder(self, request: GenerationRequest) -> OllamaDecoder:
        """A decoder for a streamed or a whole answer."""
        return OllamaDecoder(self._decoder_options.asked(request))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> PalaverError:
        """See `Dialect.error`."""
        return response_error(status, headers, body)

    def models_request(self) -> Question:
        """See `Dialect.models_request`."""
        return Question("/api/tags")

    def models(self, body: bytes) -> list[str]:
        """The names of `models`."""
        return list(wire.listed(body, "models", "name"))

    def show_request(self, model: str) -> Question:
        """/api/show, which knows `name` as `name:latest`."""
        return Question("/api/show", {"model": model})

    def show(self, model: str, body: bytes) -> ModelInfo:
        """`model_info` has the context's length under the name of the model's architecture."""
        details = wire.document(body)
        sizes = {key.rpartition(".")[2]: value for key, value in _object(details.get("model_info")).items()}
        return ModelInfo(name=model, context_length=wire.context_length(sizes), details=details)

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

    @classmethod
    def gives_several(cls, profile: Profile) -> bool:
        """One: the API has no `n`."""
        return False


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _message(message: Message, called: Mapping[str, str], position: int) -> dict[str, Any]:
    sent = {name: value for name, value in (message.model_extra or {}).items() if name != "thinking_blocks"}
    sent["role"] = "system" if message.role is Role.DEVELOPER else message.role.value
    sent["content"] = message.text
    if isinstance(message.content, list):
        images = [part.image_url.url for part in message.content if isinstance(part, ImagePart)]
        if images:
            sent["images"] = [_base64(url, position) for url in images]
    if message.tool_calls:
        sent["tool_calls"] = [
            {"function": {"name": call.name, "arguments": wire.arguments_object(call)}}
            for call in message.tool_calls
        ]
    if message.role is Role.TOOL:
        name = message.name or called.get(message.tool_call_id or "")
        if name:
            sent["tool_name"] = name
    return sent


def _base64(url: str, position: int) -> str:
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        raise ValidationError(
            "Ollama takes images as base64 data URLs only; put the image itself into the message.",
            param=f"messages[{position}].content",
        )
    return data


def _own_options(extra: dict[str, Any]) -> dict[str, Any]:
    options = extra.get("options")
    return extra.pop("options") if isinstance(options, dict) else {}


def _reasoning(request: GenerationRequest, warnings: list[WarningPart]) -> dict[str, Any]:
    options: ReasoningOptions | None = request.reasoning or request.params.reasoning
    if options is None or not options.enabled:
        return {}
    # Only gpt-oss has levels; other models take nothing but yes or no.
    has_levels = "gpt-oss" in request.model
    warnings += uncarried(options, frozenset(("effort",) if has_levels else ()))
    if options.effort is not None and has_levels:
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
