"""The error tree: complete, lossless on the wire, one status table."""

import builtins
import copy
import pickle
import subprocess
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given

from palaver.shared import ChatResponse, errors
from palaver.shared.errors import ErrorInfo, PalaverError, error_for_status, extract_message

from .strategies import errors as infos


def tree(root: Any = PalaverError) -> Any:
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("palaver.shared."):
            yield from tree(child)


CLASSES = sorted(set(tree()), key=lambda cls: cls.__name__)
SPECIAL: dict[str, Any] = {
    "ChatError": {"context": {"step": 2}},
    "SequenceGapError": {"last_taken": 41},
    "ChatIncompleteResponseError": {
        "final_result": {"content": "half"},
        "continue_count": 5,
        "max_continues": 5,
    },
}


def make(cls: Any, **more: Any) -> Any:
    return cls(
        "it broke",
        **SPECIAL.get(cls.__name__, {}),
        job_id="j1",
        provider="openai",
        param="model",
        retry_after=1.5,
        status_code=418,
        **more,
    )


def test_the_door_has_the_whole_tree() -> None:
    assert {cls.__name__ for cls in CLASSES} <= set(errors.__all__)
    assert errors.__all__ == sorted(
        errors.__all__, key=lambda name: (name != name.upper(), name[0].islower(), name)
    )


def test_the_docstring_draws_the_whole_tree() -> None:
    from palaver.shared import error_tree

    for cls in CLASSES:
        assert cls.__name__ in error_tree.__doc__


def test_the_wire_form_alone_knows_every_class() -> None:
    names = [cls.__name__ for cls in CLASSES]
    program = f"""
from palaver.shared.error_info import ErrorInfo
for name in {names}:
    assert type(ErrorInfo(type=name, code="c", message="m").exception()).__name__ == name, name
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_codes_are_unique_and_every_class_has_its_own() -> None:
    assert len({cls.code for cls in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_survives_the_wire_with_all_fields(cls: Any) -> None:
    error = make(cls)
    info = ErrorInfo.model_validate_json(ErrorInfo.of(error).to_json())
    back = info.exception()
    assert type(back) is cls
    assert ErrorInfo.of(back) == info
    assert str(back) == "it broke"
    for field in (*cls.fields, "job_id", "provider", "param", "code", "retryable", "http_status"):
        assert getattr(back, field) == getattr(error, field)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_survives_pickle_and_copy(cls: Any) -> None:
    pickled = pickle.loads(pickle.dumps(make(cls)))  # noqa: S301 -- our own bytes
    for back in (pickled, copy.copy(make(cls))):
        assert ErrorInfo.of(back) == ErrorInfo.of(make(cls))


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_has_a_default_message_of_one_sentence(cls: Any) -> None:
    message = cls().message
    assert message.endswith(".")
    assert "\n" not in message
    assert "`" not in message


@pytest.mark.parametrize("cls", CLASSES)
def test_what_a_list_shows_of_an_error_is_of_its_class_alone(cls: Any) -> None:
    error = cls("hunter2", **SPECIAL.get(cls.__name__, {}), param="hunter2", status_code=418, retry_after=1.5)
    error.unknown_details = {"quoted": "hunter2"}
    shown = ErrorInfo.of(error).without_words()
    assert (shown.type, shown.code, shown.message) == (cls.__name__, cls.code, cls().message)
    assert shown.details == {"status_code": 418, "retry_after": 1.5}
    assert "hunter2" not in shown.model_dump_json()


@given(infos)
def test_an_error_document_of_an_unknown_class_keeps_everything(info: Any) -> None:
    assert ErrorInfo.model_validate_json(info.to_json()) == info
    assert ErrorInfo.of(info.exception()) == info


def test_builtins_catch_ours() -> None:
    assert issubclass(errors.TimeoutError, builtins.TimeoutError)
    assert issubclass(errors.WaitTimeoutError, builtins.TimeoutError)
    assert issubclass(errors.ConnectionError, builtins.ConnectionError)
    assert issubclass(errors.ValidationError, ValueError)


def test_document_001s_errors() -> None:
    assert errors.ChatError("no").context == {}
    assert errors.ChatError("no", {"a": 1}).context == {"a": 1}
    assert issubclass(errors.ModelNotFoundError, errors.OllamaError)
    assert issubclass(errors.ModelNotFoundError, errors.NotFoundError)


def test_a_response_inside_an_error_travels_as_json() -> None:
    error = errors.ChatIncompleteResponseError(final_result=ChatResponse(content="half"), continue_count=1)
    back: Any = ErrorInfo.model_validate_json(ErrorInfo.of(error).to_json()).exception()
    assert back.final_result["content"] == "half"
    assert back.continue_count == 1


def test_a_foreign_error_tells_its_class_and_never_its_text() -> None:
    info = ErrorInfo.of(KeyError("the prompt"))
    assert info.type == "InternalError"
    assert "KeyError" in info.message
    assert b"prompt" not in info.to_json()


def test_an_error_with_what_is_no_json_can_still_be_told() -> None:
    info = ErrorInfo.of(errors.ChatError("half \ud83d", {"bad": {1, 2}}))
    assert orjson.loads(info.to_json())["details"] == {"context": "an object with 1 keys"}


def test_a_class_of_a_provider_package_comes_back_as_itself_and_takes_no_name_of_ours() -> None:
    class WeatherError(errors.ProviderError):
        """The weather is bad."""

        code = "weather"
        fields = (*errors.ProviderError.fields, "degrees")

        def __init__(self, degrees: Any) -> None:
            super().__init__("cold")
            self.degrees = degrees

    type("RateLimitError", (errors.ProviderError,), {"__doc__": "Mine."})
    back: Any = ErrorInfo.of(WeatherError(-3)).exception()
    assert (type(back), back.degrees) == (WeatherError, -3)
    assert type(ErrorInfo.of(errors.RateLimitError()).exception()) is errors.RateLimitError


@pytest.mark.parametrize(
    ("status", "cls", "retryable"),
    [
        (400, errors.ValidationError, False),
        (401, errors.AuthenticationError, False),
        (403, errors.AuthenticationError, False),
        (404, errors.NotFoundError, False),
        (408, errors.TimeoutError, True),
        (413, errors.ValidationError, False),
        (418, errors.APIError, False),
        (422, errors.ValidationError, False),
        (429, errors.RateLimitError, True),
        (500, errors.ServerError, True),
        (503, errors.ServerError, True),
        (529, errors.ServerError, True),
    ],
)
def test_the_status_table(status: Any, cls: Any, retryable: Any) -> None:
    error = error_for_status(status, "no", provider="openai", retry_after=2.0)
    assert type(error) is cls
    assert (error.retryable, error.status_code, error.http_status) == (retryable, status, status)
    assert (error.provider, error.retry_after) == ("openai", 2.0)


@pytest.mark.parametrize("status", range(400, 600))
def test_the_table_is_complete(status: Any) -> None:
    error = error_for_status(status)
    assert error.message == f"HTTP {status}"
    assert error.status_code == status


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "bad key", "type": "auth"}}', "bad key"),
        (b'{"error": "model not found"}', "model not found"),
        (b'{"message": "no"}', "no"),
        (b'{"detail": "gone"}', "gone"),
        (b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        (b'[{"error": {"message": "listed"}}]', "listed"),
        (b'{"error": {"message": "two\\nlines\\u0000"}}', "two lines"),
        (b"<html><body>Bad gateway</body></html>", "HTTP 502"),
        (b'{"error": "<!DOCTYPE html><p>x"}', "HTTP 502"),
        (b'{"message": "<html>x"}', "HTTP 502"),
        (b"", "HTTP 502"),
        (None, "HTTP 502"),
        (b"\xff\xfe", "HTTP 502"),
        (b'{"error": {}}', "HTTP 502"),
        (b'{"error": null, "code": 5}', "HTTP 502"),
        (b"[" * 100_000, "HTTP 502"),
    ],
)
def test_message_extraction(body: Any, message: Any) -> None:
    assert extract_message(502, body) == message


def test_a_very_long_message_is_cut() -> None:
    text = extract_message(400, orjson.dumps({"error": "x" * 10_000}))
    assert len(text) == 500


def test_a_document_of_a_newer_worker_is_read() -> None:
    info = ErrorInfo.model_validate_json(
        b'{"type":"New","code":"new","message":"m","later":1,"details":{"degrees":3,"args":5}}'
    )
    error = info.exception()
    assert (error.code, str(error), error.unknown_details) == ("new", "m", {"degrees": 3, "args": 5})
