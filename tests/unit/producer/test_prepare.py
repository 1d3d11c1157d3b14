"""From a caller's arguments to a job, and who says which models there are."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.producer.prepare import Admission, Announced, check_after, numbered, prepare, prepare_many
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.profiles import Catalog
from palaver.shared.settings import Settings

SETTINGS = Settings(deadline=90, max_document_bytes=2000)
SERVED: Announced = {
    "open": {"models": None},
    "listed": {"models": ["known", "org/known:free"]},
    "default": {"kind": "alias"},
    "team/fast": {"kind": "alias"},
}
OWN = Catalog.of(
    {"mine": {"kind": "scripted", "models": ["m"]}, "listed": {"kind": "scripted", "models": ["known"]}},
    {"short": "listed/known", "mine-only": "mine/m", "my/short": "listed/known"},
)


def admit(models: Iterable[Any], announced: Announced, catalog: Catalog | None = None) -> int:
    """Check jobs of these models; how often the workers' word was asked for."""
    admission, asked = Admission(catalog), 0
    for _ in admission.rounds([ChatJob.parse({"messages": "x", "model": model}) for model in models]):
        asked += 1
        admission.update(announced)
    return asked


def test_the_settings_give_the_deadline_and_the_largest_size() -> None:
    assert prepare("x", SETTINGS, {}).deadline == 90
    assert prepare("x", SETTINGS, {"deadline": 5}).deadline == 5
    with pytest.raises(ValidationError, match="2000 bytes"):
        prepare("x" * 3000, SETTINGS, {})


def test_a_named_session_is_continued() -> None:
    assert prepare("x", SETTINGS, {}).history is None
    assert prepare("x", SETTINGS, {"session_id": "s1"}).history == "session"
    assert prepare("x", SETTINGS, {"session_id": "s1", "history": None}).history is None


def test_errors_of_many_jobs_name_the_place() -> None:
    with pytest.raises(ValidationError) as caught:
        prepare_many(numbered(["x", {"messages": "x", "priority": 11}]), SETTINGS)
    assert caught.value.param == "jobs[1].priority"
    assert str(caught.value).startswith("jobs[1].priority: ")
    for wrong in ("x", {"messages": "x"}, 7, None):
        with pytest.raises(ValidationError, match="jobs"):
            numbered(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "model",
    [
        "open/anything",
        "open/meta-llama/llama-3:free",
        "listed/known",
        "listed/org/known:free",
        "default",
        "team/fast",
        "short",
        "my/short",
        None,
    ],
)
def test_what_workers_serve_is_taken(model: str | None) -> None:
    assert admit([model], SERVED, OWN) == 1


@pytest.mark.parametrize(
    "model", ["mine/m", "mine-only", "listed/other", "listed/org/known", "nope", "open/", "default/m"]
)
def test_what_workers_do_not_serve_is_refused(model: str) -> None:
    with pytest.raises(ValidationError) as caught:
        admit([model], SERVED, OWN)
    assert caught.value.param == "model"


def test_a_job_without_a_model_needs_a_default_of_the_workers() -> None:
    scripted: Announced = {"scripted": {"kind": "scripted", "models": ["echo"]}}
    assert admit([None], scripted, OWN) == 1
    assert admit([None], {**scripted, "fast": {"kind": "alias"}}) == 1
    for served in ({"open": {"models": None}}, {**scripted, "open": {"models": None}}):
        with pytest.raises(ValidationError, match="model: is required") as caught:
            admit([None], served)
        assert caught.value.param == "model"


def test_without_workers_the_own_catalog_decides_and_without_both_nobody() -> None:
    assert admit(["mine/m", "mine-only"], {}, OWN) == 1
    with pytest.raises(ValidationError):
        admit(["open/m"], {}, OWN)
    assert admit(["any/thing", "anything", None], {}) == 1


def test_several_choices_of_who_gives_one_are_refused() -> None:
    admission = Admission(OWN)
    one, both = {"models": None, "several": False}, {"kind": "alias", "models": ["listed/known", "open/m"]}
    admission.update({"listed": one, "open": {"models": None}, "both": both, "default": both})
    for models in (["listed/known"], ["both"], ["short"], ["open/m", "listed/known"], []):
        admission.check(models)
        with pytest.raises(ValidationError, match=r"n: must be 1: '.*' gives one choice") as refused:
            admission.check(models, several=True)
        assert refused.value.param == "n"
    admission.check(["open/m"], several=True)


def test_a_job_of_several_choices_is_refused_by_what_is_known_now() -> None:
    admission = Admission(None)
    rounds = admission.rounds([ChatJob.parse({"messages": "x", "model": "one/m", "params": {"n": 2}})])
    next(rounds)
    admission.update({"one": {"models": None, "several": False}})
    with pytest.raises(ValidationError, match="n: must be 1"):
        next(rounds)


def test_old_news_never_refuse_a_job() -> None:
    admission = Admission(None)
    admission.update({"old": {"models": None}})
    job = [ChatJob.parse({"messages": "x", "model": "new/m"})]
    rounds = admission.rounds(job)
    next(rounds)  # what is remembered does not know the model: the workers are asked again
    admission.update({"new": {"models": None}})
    assert next(rounds, "admitted") == "admitted"
    assert list(admission.rounds(job)) == []


@given(st.one_of(st.booleans(), st.integers(max_value=-1), st.floats(), st.text(), st.none()))
def test_what_is_no_cursor_is_refused(after: object) -> None:
    with pytest.raises(ValidationError) as caught:
        check_after(after)
    assert caught.value.param == "after"
