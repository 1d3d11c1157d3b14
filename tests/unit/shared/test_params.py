"""Parameters and tools: bounds are inclusive, and types are not guessed."""

from typing import Any

import pytest

from palaver.shared import (
    ChatParams,
    FunctionTool,
    ModelPreset,
    ReasoningOptions,
    ToolChoice,
    validate_chat_params,
    validate_messages,
    validate_model,
    validate_stop,
)
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.params import RESERVED

NAN = float("nan")


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0},
        {"temperature": 2},
        {"top_p": 0.0},
        {"top_p": 1},
        {"max_tokens": 1},
        {"presence_penalty": -2},
        {"frequency_penalty": 2.0},
        {"stop": ["a", "b", "c", "d", "e"]},
        {"n": 3, "seed": 0},
    ],
)
def test_bounds_are_inclusive(fields: Any) -> None:
    params = ChatParams(**fields)
    assert {name: getattr(params, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("temperature", bad) for bad in (-0.1, 2.1, 5, "1", True, NAN, float("inf"), [1], 10**400)],
        *[("top_p", bad) for bad in (-0.1, 1.1, "0.5", False, NAN)],
        *[("max_tokens", bad) for bad in (0, -1, 1.0, 1.5, "10", True, NAN, 2**64)],
        *[("presence_penalty", bad) for bad in (-2.1, 2.1, "0", True)],
        *[("frequency_penalty", bad) for bad in (-2.1, 2.1, "0", True)],
        *[("stop", bad) for bad in ("", [], [""], 5, ["a", 5], {"a": 1})],
        *[("logit_bias", bad) for bad in ([1], {"5": "x"}, {"5": 101}, {"5": True})],
        *[("n", bad) for bad in (0, True, "1")],
        *[("seed", bad) for bad in (1.5, True, 2**63)],
        *[("user", bad) for bad in (5, b"x")],
        *[("extra", bad) for bad in (5, {"a": NAN}, {"a": {1}}, {1: 2}, {"a": object()})],
        *[("response_format", bad) for bad in ("json", {"a": {1}})],
        *[("include_usage", bad) for bad in (1, "yes", None)],
        *[("temprature", 1)],
    ],
)
def test_what_is_refused_names_its_field(name: Any, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ChatParams(**{name: value})
    assert (caught.value.param or "").partition(".")[0] == name
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_extra_says_nothing_that_the_job_says(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ChatJob(messages="hi", params={"extra": {"mine": 1, name: None}})
    assert caught.value.param == f"params.extra.{name}"
    with pytest.raises(ValidationError):
        ChatParams().merged({"extra": {name: 1}})


def test_stop_is_always_a_list() -> None:
    assert ChatParams(stop="END").stop == ["END"]


def test_integer_token_ids_survive_json() -> None:
    params = ChatParams(logit_bias={50256: -100, "11": 1.5})
    assert ChatParams.model_validate_json(params.to_json()) == params
    assert params.logit_bias == {"50256": -100.0, "11": 1.5}


def test_what_is_set_on_top_wins() -> None:
    base = ChatParams(temperature=0.2, max_tokens=5, extra={"a": 1, "b": 1})
    merged = base.merged({"temperature": 0.9, "max_tokens": None, "extra": {"b": 2}})
    assert (merged.temperature, merged.max_tokens, merged.extra) == (0.9, 5, {"a": 1, "b": 2})
    assert base.merged(ChatParams(top_p=0.5)).temperature == 0.2
    assert base.merged(None) is base
    assert base.temperature == 0.2


def test_merging_validates() -> None:
    with pytest.raises(ValidationError, match="temperature"):
        ChatParams().merged({"temperature": 5})


def test_all_wrong_fields_are_told() -> None:
    with pytest.raises(ValidationError) as caught:
        ChatParams(temperature=5, top_p=7, n=0, max_tokens=0)
    assert str(caught.value) == (
        "temperature: must be at most 2, not 5; top_p: must be at most 1, not 7;"
        " max_tokens: must be at least 1, not 0; and 1 more"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, ReasoningOptions()),
        (False, ReasoningOptions(enabled=False)),
        ("high", ReasoningOptions(effort="high")),
        ({"effort": "low", "max_tokens": 100}, ReasoningOptions(effort="low", max_tokens=100)),
    ],
)
def test_reasoning_forms(given: Any, expected: Any) -> None:
    assert ChatParams(reasoning=given).reasoning == expected


class TestDocument004:
    def test_what_is_fine_comes_back(self) -> None:
        assert validate_chat_params(temperature=2, max_tokens=1).temperature == 2
        assert validate_messages("hi")[0].content == "hi"
        assert validate_model("a/b") == "a/b"
        assert validate_stop("x") == ["x"]

    @pytest.mark.parametrize("model", [None, "", " ", 5])
    def test_models(self, model: Any) -> None:
        with pytest.raises(ValidationError, match="model: "):
            validate_model(model)

    @pytest.mark.parametrize("stop", [None, "", [], [1]])
    def test_stops(self, stop: Any) -> None:
        with pytest.raises(ValidationError, match="stop: "):
            validate_stop(stop)

    def test_the_rest(self) -> None:
        with pytest.raises(ValidationError, match="messages: "):
            validate_messages([])
        with pytest.raises(ValidationError, match="temperature: "):
            validate_chat_params(temperature=True)


class TestTools:
    def test_openais_form_there_and_back(self) -> None:
        given = {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
        }
        tool = FunctionTool.validated(given)
        assert tool.to_dict() == given
        assert FunctionTool.model_validate_json(tool.to_json()) == tool

    def test_strict_only_if_true(self) -> None:
        assert FunctionTool(name="f").to_dict() == {
            "type": "function",
            "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
        }

    @pytest.mark.parametrize(
        "given",
        [
            {"name": ""},
            {"name": "a b"},
            {"name": "f\n"},
            {"name": "x" * 129},
            {"name": "f", "parameters": {"a": {1}}},
        ],
    )
    def test_refused(self, given: Any) -> None:
        with pytest.raises(ValidationError):
            FunctionTool(**given)

    @pytest.mark.parametrize("mode", ["auto", "required", "none"])
    def test_choice_of_a_mode(self, mode: Any) -> None:
        choice = ToolChoice.validated(mode)
        assert choice.to_dict() == mode
        assert ToolChoice.model_validate_json(choice.to_json()) == choice

    @pytest.mark.parametrize(
        "given", ["f", {"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}]
    )
    def test_choice_of_a_function(self, given: Any) -> None:
        assert ToolChoice.validated(given).to_dict() == {"type": "function", "function": {"name": "f"}}

    @pytest.mark.parametrize(
        "given", [5, "a b", {"type": "other"}, {"type": "function"}, {"mode": "auto", "name": "f"}]
    )
    def test_choice_refused(self, given: Any) -> None:
        with pytest.raises(ValidationError):
            ToolChoice.validated(given)


class TestPreset:
    def test_key_stays_inside(self) -> None:
        preset = ModelPreset(model="m", api_key="sk-secret", config={"temperature": 0.5, "top_k": 3})
        assert "sk-secret" not in repr(preset) + str(preset.model_dump()) + preset.to_json().decode()
        assert preset.api_key is not None
        assert preset.api_key.get_secret_value() == "sk-secret"
        assert preset.config.params() == ChatParams(temperature=0.5, top_k=3)

    @pytest.mark.parametrize(
        "fields", [{}, {"model": ""}, {"model": "m", "config": {"temperature": 3}}, {"model": "m", "x": 1}]
    )
    def test_refused(self, fields: Any) -> None:
        with pytest.raises(ValidationError):
            ModelPreset(**fields)


def test_jobs_that_say_nothing_of_their_parameters_share_some_that_nobody_can_change() -> None:
    one, other = ChatJob(messages="a"), ChatJob(messages="b")
    assert one.params is other.params
    extra: Any = one.params.extra
    for change in ("update", "setdefault", "__setitem__", "__ior__"):
        with pytest.raises(TypeError, match="cannot be changed"):
            getattr(extra, change)("a", 1)
    assert other.params.extra == {}
    assert one.params.merged({"extra": {"a": 1}}).extra == {"a": 1}
