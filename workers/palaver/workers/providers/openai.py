"""The OpenAI dialect (`kind = "openai"`): any server that speaks chat/completions.

Source: OpenAI's API reference, "Chat completions"; what compatible servers do differently is in `flavours`.

Profile options: `flavour`, `think_tags` (thinking between <think> tags is reasoning), `max_event_bytes`,
`max_tokens_field` (`max_completion_tokens` for models that want it).
"""

from collections.abc import Mapping
from typing import Any, Final

from palaver.shared.errors import PalaverError
from palaver.shared.messages import Message, Role
from palaver.shared.profiles import Profile, Resume
from palaver.workers.http import HttpClient
from palaver.workers.providers import wire
from palaver.workers.providers.base import DialectRequest, GenerationRequest, HttpProvider
from palaver.workers.providers.decoder_options import DecoderOptions
from palaver.workers.providers.errors import response_error
from palaver.workers.providers.flavours import Flavour, flavour_of, reasoning_fields
from palaver.workers.providers.openai_decoder import OpenAIDecoder
from palaver.workers.providers.parts import WarningPart

_SAME_NAME: Final = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "logit_bias",
    "user",
    "seed",
    "response_format",
)
"""Parameters that travel under their own name."""


class OpenAIDialect:
    """chat/completions: requests, decoders and errors."""

    base_url = "https://api.openai.com/v1"
    models_path = "/models"

    def __init__(self, profile: Profile) -> None:
        self._headers = wire.headers(profile)
        self._decoder_options = DecoderOptions.of(profile)
        self._max_tokens_field = str(profile.options.get("max_tokens_field", "max_tokens"))
        self._flavour: Flavour = flavour_of(profile.base_url, profile.options.get("flavour"))
        # An operator who asks for prefixes knows the server; it then gets them as a last assistant message.
        self.continues_prefix = self._flavour.prefix or profile.resume is Resume.PREFIX

    def headers(self) -> dict[str, str]:
        """The profile's headers, and `Authorization: Bearer` unless they hold one."""
        return dict(self._headers)

    def request(self, request: GenerationRequest) -> DialectRequest:
        """The body; None is never sent, and `params.extra` is merged last and wins."""
        warnings: list[WarningPart] = []
        body: dict[str, Any] = {"model": request.model, "messages": self._messages(request)}
        if request.stream:
            body["stream"] = True
            if request.params.include_usage:
                body["stream_options"] = {"include_usage": True}
        body |= self._parameters(request, warnings)
        body |= reasoning_fields(self._flavour.reasoning, request.reasoning or request.params.reasoning)
        body |= _tools(request)
        if request.prefix and self.continues_prefix:
            body |= self._flavour.prefix_body
        body |= request.params.extra
        return DialectRequest("/chat/completions", body, tuple(warnings))

    def decoder(self, request: GenerationRequest) -> OpenAIDecoder:
        """A decoder for a streamed or a whole answer; it sees by itself which one comes."""
        return OpenAIDecoder(self._decoder_options.asked(request.params))

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> PalaverError:
        """See `Dialect.error`."""
        return response_error(status, headers, body)

    def models(self, body: bytes) -> list[str]:
        """The ids of `data`."""
        return wire.names(body, "data", "id")

    def _messages(self, request: GenerationRequest) -> list[dict[str, Any]]:
        messages = [self._message(message) for message in request.messages]
        if request.prefix and self.continues_prefix:
            messages.append({"role": "assistant", "content": request.prefix} | self._flavour.prefix_message)
        return messages

    def _message(self, message: Message) -> dict[str, Any]:
        given = message.payload()
        sent = {name: value for name, value in given.items() if value is not None and name != "reasoning"}
        sent.setdefault("content", None)
        if message.role is Role.DEVELOPER and not self._flavour.developer_role:
            sent["role"] = "system"
        if message.tool_calls:
            sent["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": wire.arguments_text(call)},
                }
                for call in message.tool_calls
            ]
        return sent

    def _parameters(self, request: GenerationRequest, warnings: list[WarningPart]) -> dict[str, Any]:
        params = request.params
        fields: dict[str, Any] = {name: getattr(params, name) for name in _SAME_NAME}
        fields[self._max_tokens_field] = params.max_tokens
        fields["top_k"] = params.top_k
        if params.top_k is not None and not self._flavour.top_k:
            fields["top_k"] = None
            warnings.append(wire.unsupported("top_k"))
        fields["n"] = params.n
        if params.n is not None and params.n > 1 and request.stream:
            fields["n"] = None
            warnings.append(wire.unsupported("n", "A stream has one answer; n is left out."))
        return {name: value for name, value in fields.items() if value is not None}


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

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        dialect = OpenAIDialect(profile)
        super().__init__(profile, http, dialect)
        self.continues_prefix = dialect.continues_prefix
