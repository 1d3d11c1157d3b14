"""Errors of requests to the gateway; drawn in `error_tree`."""

from palaver.shared.error_tree import PalaverError


class AccessError(PalaverError):
    """The gateway does not serve this request."""

    code = "access"
    http_status = 403


class UnauthorizedError(AccessError):
    """An API key is needed, and this is none that is valid."""

    code = "unauthorized"
    http_status = 401


class ForbiddenError(AccessError):
    """The API key does not allow this."""

    code = "forbidden"


class TooManyRequestsError(AccessError):
    """The API key was used too often in the last minute."""

    code = "too_many_requests"
    retryable = True
    http_status = 429


class GatewayFullError(AccessError):
    """The gateway has as many connections as it takes."""

    code = "gateway_full"
    retryable = True
    http_status = 503


class GatewayStoppedError(AccessError):
    """The gateway stops before the end of the answer; the job goes on."""

    code = "gateway_stopped"
    retryable = True
    http_status = 503


class RequestTooLargeError(AccessError):
    """The request is larger than the gateway takes."""

    code = "request_too_large"
    http_status = 413


class RequestTimeoutError(AccessError):
    """The request did not arrive in time."""

    code = "request_timeout"
    retryable = True
    http_status = 408
