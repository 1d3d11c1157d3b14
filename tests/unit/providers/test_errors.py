"""Errors of providers and of the HTTP client become ours."""

import builtins
import email.utils
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import aiohttp
import aiohttp.http_exceptions
import pytest

from palaver.shared.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    ConnectionError,
    ContentFilterError,
    ErrorInfo,
    ModelNotFoundError,
    NotFoundError,
    OllamaError,
    PalaverError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    TimeoutError,
    ValidationError,
)
from palaver.shared.jobs import Timeouts
from palaver.shared.profiles import Profile
from palaver.workers.http import EXCEPTIONS, HttpClient, _mapped, _Source, proxy_for
from palaver.workers.providers.errors import Codes, response_error, retry_after, stream_error
from palaver.workers.providers.ollama_decoder import ERRORS as OLLAMA_ERRORS
from palaver.workers.providers.openai_decoder import ERRORS
from palaver.workers.providers.scripted import ScriptedProvider


@pytest.mark.parametrize(
    ("status", "error", "retryable"),
    [
        (400, ValidationError, False),
        (401, AuthenticationError, False),
        (403, AuthenticationError, False),
        (404, NotFoundError, False),
        (408, TimeoutError, True),
        (409, APIError, False),
        (413, ValidationError, False),
        (418, APIError, False),
        (422, ValidationError, False),
        (429, RateLimitError, True),
        (500, ServerError, True),
        (529, ServerError, True),
    ],
)
def test_statuses(status: int, error: type[PalaverError], retryable: bool) -> None:
    found = response_error(status, {}, b"<html>a page</html>")
    assert type(found) is error
    assert (found.status_code, found.retryable, found.message) == (status, retryable, f"HTTP {status}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "m", "type": "t"}}, "m"),
        ({"error": "m"}, "m"),
        ({"message": "m"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"loc": ["body"], "msg": "m"}]}, "m"),
        ({}, "HTTP 500"),
        ([], "HTTP 500"),
        (None, "HTTP 500"),
    ],
)
def test_messages(body: object, message: str) -> None:
    assert response_error(500, {}, json.dumps(body).encode()).message == message


def test_errors_are_told_apart_by_their_code() -> None:
    unknown = response_error(
        404, {}, b'{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}'
    )
    assert isinstance(unknown, ModelNotFoundError)
    assert isinstance(unknown, OllamaError)
    assert unknown.status_code == 404
    assert isinstance(response_error(404, {}, b'{"error":"model \'x\' not found"}'), ModelNotFoundError)
    assert type(response_error(404, {}, b'{"detail":"Not Found"}')) is NotFoundError
    assert isinstance(response_error(400, {}, b'{"error":{"code":"content_filter"}}'), ContentFilterError)
    assert response_error(400, {}, b'{"error":{"message":"m","param":"top_k"}}').param == "top_k"
    assert not response_error(429, {}, b'{"error":{"code":"insufficient_quota"}}').retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:10 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 10),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:10 -0000", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 10),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, None),
        ({"retry-after": "Mon, 01 Jan 2026 00:00:00 +9999999999999"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT", "date": "Mon, 1 Jan 9999999999999999999 0:0:0"}, 0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_a_retry_after_date_without_a_date_header_counts_from_now() -> None:
    soon = email.utils.format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    assert retry_after({"retry-after": soon}) == pytest.approx(300, abs=30)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"error": {"message": "m", "code": 502}}, ServerError),
        ({"error": {"message": "m", "code": "429"}}, RateLimitError),
        ({"error": {"message": "m", "type": "invalid_request_error"}}, ValidationError),
        ({"error": {"message": "m"}}, ServerError),
        ({"error": "m"}, ServerError),
        ({"message": "m", "object": "error", "code": 400}, ValidationError),
        ("m", ServerError),
    ],
)
def test_errors_inside_a_stream(document: object, error: type[PalaverError]) -> None:
    found = stream_error(document, ERRORS)
    assert type(found) is error
    assert found.message == "m"
    assert type(ErrorInfo.of(found).exception()) is error


@pytest.mark.parametrize("depth", [400, 990, 100_000])
@pytest.mark.parametrize("level", [b"[]", b'{"error":}', b'{"a":}'])
def test_an_error_that_is_nested_deeply_is_one_without_words(level: bytes, depth: int) -> None:
    body = level[:-1] * depth + b"1" + level[-1:] * depth
    found = response_error(429, {}, body)
    assert isinstance(found, RateLimitError)
    assert found.message == "HTTP 429"
    if depth < 900:
        assert isinstance(stream_error(json.loads(body), ERRORS), ServerError)


@pytest.mark.parametrize("code", ["\N{SUPERSCRIPT TWO}", "9" * 5000, 10**4000, True, -429, ["429"]])
def test_a_code_that_is_no_status_is_none(code: object) -> None:
    assert type(stream_error({"error": {"message": "m", "code": code}}, ERRORS)) is ServerError


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"retry_after": 7}, 7),
        ({"metadata": {"retry_after_seconds": "2.5"}}, 2.5),
        ({"retry_after_ms": 500}, 0.5),
        ({"retry_after": None, "message": "Rate limit reached. Please try again in 1.242s. Visit …"}, 1.242),
        ({"message": "Please try again in 20ms."}, 0.02),
        ({"message": "Please try again in 6m0s."}, 360),
        ({"message": "Please try again in 2m."}, 120),
        ({"message": "Please try again in a while."}, None),
        ({"message": "try again in 9" + "9" * 400 + "s"}, None),
        ({"retry_after": "soon", "metadata": []}, None),
    ],
)
def test_a_rate_limit_inside_a_stream_says_for_how_long(
    fields: dict[str, object], seconds: float | None
) -> None:
    found = stream_error({"error": {"message": "m", "code": 429, **fields}}, ERRORS)
    assert isinstance(found, RateLimitError)
    assert found.retry_after == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("codes", [ERRORS, OLLAMA_ERRORS])
def test_every_code_has_a_status_of_an_error(codes: Codes) -> None:
    assert all(400 <= status < 600 for status in codes.values())


def _tree(*roots: type[BaseException]) -> Iterator[type[BaseException]]:
    for root in roots:
        yield root
        yield from _tree(*root.__subclasses__())


FOREIGN = sorted(
    {
        kind
        for kind in _tree(
            aiohttp.ClientError,
            aiohttp.http_exceptions.HttpProcessingError,
        )
        if kind.__module__.startswith("aiohttp.")
    },
    key=lambda kind: f"{kind.__module__}.{kind.__name__}",
)


def test_all_exceptions_of_the_client_are_looked_at() -> None:
    public = {
        value
        for value in vars(aiohttp).values()
        if isinstance(value, type) and issubclass(value, Exception) and not issubclass(value, Warning)
    }
    of_web_sockets = {aiohttp.WebSocketError, aiohttp.WSMessageTypeError, aiohttp.EofStream}
    assert public - of_web_sockets <= set(FOREIGN)


@pytest.mark.parametrize("kind", [*FOREIGN, builtins.TimeoutError, OSError, ConnectionResetError, ValueError])
@pytest.mark.parametrize("reading", [False, True])
def test_the_table_of_foreign_exceptions_is_complete(kind: type[BaseException], reading: bool) -> None:
    error = kind.__new__(kind)
    source = _Source("http://u:secret@host:1/path?key=secret", Timeouts())
    ours = _mapped(error, source, reading=reading)
    assert isinstance(ours, PalaverError)
    assert ours.message.startswith("http://host:1 ")
    assert "secret" not in ours.message
    nearest = next(base for base in kind.__mro__ if base in EXCEPTIONS)
    assert nearest not in (Exception, BaseException)


def test_a_broken_connection_means_another_thing_than_a_late_one() -> None:
    source = _Source("http://host", Timeouts())

    def mapped(error: Exception, *, reading: bool) -> type[PalaverError]:
        return type(_mapped(error, source, reading=reading))

    assert mapped(aiohttp.ClientOSError(111, "refused"), reading=False) is ConnectionError
    assert mapped(aiohttp.ServerDisconnectedError(), reading=False) is ConnectionError
    assert mapped(aiohttp.ServerDisconnectedError(), reading=True) is StreamInterruptedError
    assert mapped(aiohttp.ConnectionTimeoutError(), reading=False) is TimeoutError
    assert mapped(aiohttp.SocketTimeoutError(), reading=True) is TimeoutError


@pytest.mark.parametrize(
    ("url", "proxies", "environment", "proxy"),
    [
        ("http://h", None, {}, None),
        ("http://h", None, {"http": "http://p:1"}, "http://p:1"),
        ("https://h", None, {"http": "http://p:1"}, None),
        ("https://h", None, {"all": "p:1"}, "http://p:1"),
        ("http://h:80/x", None, {"http": "http://p:1", "no": "h"}, None),
        ("http://h", {}, {"http": "http://p:1"}, None),
        ("http://h", {"http": "http://q"}, {"http": "http://p:1"}, "http://q"),
        ("https://h", {"all://": "http://q"}, {}, "http://q"),
        ("https://h", {"https://": "http://q", "all": "http://r"}, {}, "http://q"),
    ],
)
def test_proxies(
    url: str, proxies: dict[str, str] | None, environment: dict[str, str], proxy: str | None
) -> None:
    assert proxy_for(url, proxies, environment) == proxy


def test_a_proxy_must_speak_http() -> None:
    with pytest.raises(ConfigurationError):
        proxy_for("http://h", {"all": "socks5://user:secret@p"}, {})


def test_a_key_that_a_provider_repeats_is_told_nowhere() -> None:
    profile = Profile(name="p", kind="scripted", headers={"Authorization": "Bearer hunter2-hunter2"})
    told = "Bearer hunter2-hunter2 is wrong"
    error = ValidationError(told, param=told)
    ScriptedProvider(profile, HttpClient()).label(error)
    assert (error.message, error.param) == ("*** is wrong", "*** is wrong")
    assert "hunter2" not in repr(error) + repr(vars(error))
