"""Errors of providers; drawn in `error_tree`."""

import builtins
from typing import Any

from palaver.shared.error_tree import PalaverError


class ProviderError(PalaverError):
    """The provider could not answer."""

    code = "provider_error"
    http_status = 502


class APIError(ProviderError):
    """The provider answered with an error."""

    code = "api_error"


class AuthenticationError(APIError):
    """The provider refused the key."""

    code = "authentication"
    http_status = 401


class NotFoundError(APIError):
    """The provider does not have what was asked for."""

    code = "not_found"
    callers_fault = True
    http_status = 404


class RateLimitError(APIError):
    """The provider's rate limit is reached.

    `retry_after` is in seconds, if the provider told it.
    """

    code = "rate_limit"
    retryable = True
    http_status = 429


class ServerError(APIError):
    """The provider failed.

    `status_code` is the status that it really sent.
    """

    code = "server_error"
    retryable = True


class CircuitOpenError(ProviderError):
    """The provider failed too often and is not asked for a while.

    `retry_after` is in seconds, until a request may find out whether it answers again.
    """

    code = "circuit_open"
    retryable = True
    http_status = 503


class TimeoutError(ProviderError, builtins.TimeoutError):
    """The provider did not answer in time."""

    code = "timeout"
    retryable = True
    http_status = 504


class ConnectionError(ProviderError, builtins.ConnectionError):
    """The provider cannot be reached."""

    code = "connection"
    retryable = True


class StreamInterruptedError(ProviderError):
    """The provider's stream ended before the answer did."""

    code = "stream_interrupted"
    retryable = True


class MalformedStreamError(ProviderError):
    """The provider sent something that is not of its format."""

    code = "malformed_stream"


class ContentFilterError(ProviderError):
    """The provider's content filter refused the request."""

    code = "content_filter"
    callers_fault = True
    http_status = 422


class OllamaError(ProviderError):
    """The Ollama server could not answer."""

    code = "ollama"


class ModelNotFoundError(NotFoundError, OllamaError):
    """The provider does not have this model."""

    code = "model_not_found"


class ChatError(OllamaError):
    """A chat operation failed.

    `context` says more about it, and is never None.
    """

    code = "chat_error"
    fields = (*OllamaError.fields, "context")

    def __init__(
        self, message: str | None = None, context: dict[str, Any] | None = None, **more: Any
    ) -> None:
        super().__init__(message, **more)
        self.context = context or {}
