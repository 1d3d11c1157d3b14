"""The input of a batch: files and jobs, OpenAI's lines and ours, and all that is wrong with them at once."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.producer.batches import Intake, entries
from palaver.shared.batches import DEFAULT_COMPLETION_WINDOW, SLICE, SLICE_BYTES, BatchJob, BatchLine
from palaver.shared.errors import BatchInputError, ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.messages import UserMessage
from palaver.shared.names import DEFAULT_PRIORITY
from palaver.shared.params import ChatParams
from palaver.shared.plain import refuse
from palaver.shared.settings import Settings

SETTINGS = Settings(max_document_bytes=2000, deadline=77.0)


def only_known(models: Sequence[str], *, several: bool) -> None:
    if any(model.startswith("no/") for model in models):
        refuse("model", "no worker serves it")
    if several and "m/one" in models:
        refuse("n", "must be 1")


def taken(source: Any, *, skip_invalid: bool = False, **fields: Any) -> tuple[BatchJob, list[BatchLine]]:
    batch, lines, _ = taken_whole(source, skip_invalid=skip_invalid, **fields)
    return batch, lines


def taken_whole(
    source: Any, *, skip_invalid: bool = False, **fields: Any
) -> tuple[BatchJob, list[BatchLine], list[Any]]:
    with Intake(SETTINGS, fields, only_known, skip_invalid=skip_invalid) as intake:
        intake.take(entries(source, SETTINGS.max_document_bytes))
        batch = intake.batch()
        lines = [BatchLine.parse(line, batch) for _, lines in intake.slices() for line in lines]
        return batch, lines, [orjson.loads(line) for line in intake.left_out()]


def openai(custom_id: str = "a", **body: Any) -> dict[str, Any]:
    whole = {"model": "m/x", "messages": [{"role": "user", "content": "hi"}], **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": whole}


def one(entry: Any, **fields: Any) -> ChatJob:
    _, lines = taken([entry], **fields)
    return lines[0].job


def refused(entry: Any, **fields: Any) -> dict[str, Any]:
    with pytest.raises(BatchInputError) as caught:
        taken([entry], **fields)
    return caught.value.problems[0]


def test_jobs_are_taken_in_all_their_forms() -> None:
    batch, lines = taken(
        [
            "a prompt",
            {"messages": "a dict", "custom_id": "mine", "params": {"temperature": 0}},
            ChatJob(messages=[UserMessage(content="a job")], max_retries=0),
            openai("theirs"),
        ]
    )
    assert (batch.total, batch.invalid) == (4, 0)
    assert [line.custom_id for line in lines] == ["line-1", "mine", "line-3", "theirs"]
    assert [line.index for line in lines] == [0, 1, 2, 3]
    assert [line.job.messages[0].text for line in lines] == ["a prompt", "a dict", "a job", "hi"]
    assert {line.job.job_id for line in lines} == {f"{batch.batch_id}.{index}" for index in range(4)}


def test_a_line_has_the_time_of_the_batch_unless_it_says_another() -> None:
    said = [{"messages": "hi", "deadline": 9}, ChatJob(messages="hi", deadline=9)]
    unsaid = ["hi", {"messages": "hi"}, ChatJob(messages="hi"), openai()]
    _, lines = taken([*said, *unsaid], completion_window=500)
    assert [line.job.deadline for line in lines] == [9, 9, 500, 500, 500, 500]
    assert one(lines[0], completion_window=500).deadline == 9
    assert one("hi").deadline == DEFAULT_COMPLETION_WINDOW, "and not PALAVER_DEADLINE"


def test_lines_take_from_the_batch_what_they_do_not_say() -> None:
    defaults = {"model": "m/x", "params": {"temperature": 0.5, "max_tokens": 9, "extra": {"a": 1}}}
    assert one("hi", **defaults).models == ["m/x"]
    said = {"messages": "hi", "model": "m/y", "params": {"temperature": 1, "extra": {"b": 2}}}
    job = one(said, **defaults)
    assert job.model == "m/y"
    assert job.params == ChatParams(temperature=1, max_tokens=9, extra={"a": 1, "b": 2})
    assert one(openai(model=None), **defaults).model == "m/x"


def test_a_line_has_no_priority_also_one_that_was_stored_with_it() -> None:
    fields = {"model": "m/x", "messages": "hi", "priority": 2}
    stored = BatchLine.validated({"index": 0, "custom_id": "a", "job": fields})
    assert one(stored).priority == DEFAULT_PRIORITY
    assert refused(fields)["param"] == "priority", "who asks for a batch asks for none"


def test_lines_belong_to_the_batchs_owner() -> None:
    job = one({"messages": "hi", "tenant": "acme"}, user="ann", tenant="acme")
    assert (job.user, job.tenant) == ("ann", "acme")
    assert refused({"messages": "hi", "user": "bob"}, user="ann")["param"] == "user"


def test_openais_body_becomes_a_job() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    job = one(
        openai(
            max_completion_tokens=5,
            temperature=0.5,
            reasoning_effort="low",
            service_tier="flex",
            stop=None,
            stream=False,
            stream_options={"include_usage": True},
            tools=[tool],
            tool_choice="auto",
            metadata={"k": "v"},
            user="u",
        )
    )
    assert job.params == ChatParams(max_tokens=5, temperature=0.5, user="u", extra={"service_tier": "flex"})
    assert job.reasoning is not None
    assert job.reasoning.effort == "low"
    assert job.tools is not None
    assert job.tools[0].name == "f"
    assert (job.metadata, job.user) == ({"k": "v"}, None)


@pytest.mark.parametrize(
    ("entry", "param"),
    [
        (openai(temperature=9), "body.temperature"),
        (openai(max_completion_tokens=0), "body.max_tokens"),
        (openai(messages=[{"role": "robot", "content": "x"}]), "body.messages[0].role"),
        (openai(messages=[]), "body.messages"),
        (openai(stream=True), "body.stream"),
        (openai(logprobs=True), "body.logprobs"),
        ({**openai(), "url": "/v1/embeddings"}, "url"),
        ({**openai(), "method": "GET"}, "method"),
        ({**openai(), "body": "x"}, "body"),
        ({**openai(), "id": 1}, "id"),
        (openai(model="no/x"), "model"),
        (openai(model="m/x\n"), "body.model"),
        ({"messages": "x", "model": ["m/x", "m/y\nz"]}, "model"),
        ({"messages": "x", "custom_id": 5}, "custom_id"),
        ({"messages": "x", "custom_id": "x" * 257}, "custom_id"),
        ({"messages": "x", "session_id": "s"}, "session_id"),
        ({"messages": "x", "history": "session"}, "history"),
        ({"messages": "x", "agent": "a/"}, "agent"),
        ({"messages": "x", "priority": 9}, "priority"),
        ({"messages": "x", "nonsense": 9}, "nonsense"),
        ({"nonsense": "x"}, "messages"),
        ({"messages": "x" * 3000}, "messages"),
        (5, None),
        (b"{", None),
        (b"[]", None),
        (b'{"messages": "\xff"}', None),
        (b"x" * 3000, None),
    ],
)
def test_what_is_wrong_is_named(entry: Any, param: str | None) -> None:
    problem = refused(entry)
    assert (problem["line"], problem["param"], problem["code"]) == (1, param, "invalid_request")


def test_what_is_wrong_is_told_without_content() -> None:
    with pytest.raises(BatchInputError) as caught:
        taken(
            [{"messages": "hunter2", "params": {"temperature": "hunter2"}}, openai(stop="", seed="hunter2")]
        )
    assert "hunter2" not in f"{caught.value} {caught.value.problems}"


def test_all_that_is_wrong_is_told_at_once() -> None:
    source = [{"messages": ""} if index % 2 else "fine" for index in range(400)]
    with pytest.raises(BatchInputError, match=r"^200 of 400 lines .*; and 197 more$") as caught:
        taken(source)
    assert caught.value.count == 200
    assert [problem["line"] for problem in caught.value.problems] == list(range(2, 202, 2))


def test_what_is_wrong_can_be_left_out() -> None:
    source = ["one", {"messages": "", "custom_id": "empty"}, "three"]
    batch, lines, left_out = taken_whole(source, skip_invalid=True)
    assert (batch.total, batch.invalid) == (2, 1)
    assert [(line.index, line.custom_id) for line in lines] == [(0, "line-1"), (1, "line-3")]
    assert [(line["custom_id"], line["error"]["line"]) for line in left_out] == [("empty", 2)]
    with pytest.raises(BatchInputError):
        taken([{"messages": ""}], skip_invalid=True)


def test_a_custom_id_is_used_once() -> None:
    source = [openai("a"), openai("b"), openai("a"), {"messages": "x", "custom_id": "line-5"}, "hi"]
    with pytest.raises(BatchInputError) as caught:
        taken(source)
    assert [(problem["line"], problem["param"]) for problem in caught.value.problems] == [
        (3, "custom_id"),
        (5, "custom_id"),
    ]


@pytest.mark.parametrize("source", [[], io.BytesIO(b""), io.BytesIO(b"\n \n")])
def test_an_empty_input_is_refused(source: Any) -> None:
    with pytest.raises(ValidationError, match="jobs: must not be empty"):
        taken(source)


@pytest.mark.parametrize("source", [b"x", {"messages": "x"}, 5, io.StringIO("x"), "not/there.jsonl", "."])
def test_what_is_no_input_is_refused(source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValidationError) as caught:
        taken(source)
    assert caught.value.param == "jobs"


@pytest.mark.parametrize(
    "fields",
    [
        {"window": 0},
        {"completion_window": 0.5},
        {"nonsense": 1},
        {"total": 5},
        {"model": ""},
        {"params": {"temperature": 3}},
        {"idempotency_key": ""},
        {"webhook": "http://example.org/"},
        {"webhook": "https://127.0.0.1/"},
    ],
)
def test_a_wrong_argument_is_named_before_the_input_is_read(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Intake(SETTINGS, fields, only_known)
    assert (caught.value.param or "").partition(".")[0] == next(iter(fields))


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    longest = b'"six"' + b" " * 1995
    long = b'{"messages": "' + b"x" * 10_000 + b'"}'
    path.write_bytes(b'\xef\xbb\xbf"one"\r\n\n' + long + b'\n\t\n"four"\n' + longest + b"\r\n")
    _, lines, left_out = taken_whole(path, skip_invalid=True)
    assert [line.custom_id for line in lines] == ["line-1", "line-5", "line-6"]
    assert [line["error"]["line"] for line in left_out] == [3]
    assert "larger than 2000 bytes" in left_out[0]["error"]["message"]


@given(st.lists(st.binary(max_size=30)), st.integers(3, 40))
def test_any_bytes_are_lines(pieces: list[bytes], longest: int) -> None:
    content = b"\n" + b"\n".join(pieces)
    expected = [
        (number, line[: longest + 1])
        for number, line in enumerate(content.split(b"\n"), 1)
        if line[: longest + 1].strip()
    ]
    found = list(entries(io.BytesIO(content), longest))
    assert [
        (number, line.removesuffix(b"\n")) for number, line in found if isinstance(line, bytes)
    ] == expected


def test_many_lines_are_stored_in_slices_under_their_digest() -> None:
    with Intake(SETTINGS, {}, only_known) as intake:
        intake.take(entries([f"prompt {index}" for index in range(2 * SLICE + 1)], 2000))
        slices = list(intake.slices())
        batch = intake.batch()
    assert [(first, len(lines)) for first, lines in slices] == [(0, SLICE), (SLICE, SLICE), (2 * SLICE, 1)]
    whole = b"".join(line for _, lines in slices for line in lines)
    assert hashlib.sha256(whole).hexdigest() == batch.input


def test_large_lines_are_stored_in_smaller_slices() -> None:
    """A store's client, and a worker, have whole slices in memory."""
    large = "x" * (SLICE_BYTES // 4)
    settings = Settings(max_document_bytes=SLICE_BYTES)
    with Intake(settings, {}, only_known) as intake:
        intake.take(entries([large] * 9 + ["small"] * 3, SLICE_BYTES))
        assert [(first, len(lines)) for first, lines in intake.slices()] == [(0, 4), (4, 4), (8, 4)]


def test_equal_input_of_one_key_is_an_equal_batch() -> None:
    assert taken(["a", "b"], idempotency_key="k")[0] == taken(["a", "b"], idempotency_key="k")[0]
    assert taken(["a", "b"], idempotency_key="k")[0] != taken(["a", "c"], idempotency_key="k")[0]


def test_each_list_of_models_is_checked_once_and_kept_for_the_whole_batch() -> None:
    asked: list[tuple[str, ...]] = []

    def ask(models: Sequence[str], *, several: bool) -> None:
        assert not several
        asked.append(tuple(models))

    with Intake(SETTINGS, {"completion_window": 500}, ask) as intake:
        jobs = [{"messages": "x", "model": "m/x", "files": [f"file-{n % 150}"]} for n in range(300)]
        intake.take(entries([*jobs, "default"], 2000))
        samples = list(intake.samples())
    assert asked == [("m/x",), ()]
    assert {tuple(job.models) for job in samples} == {("m/x",), ()}
    assert len({file for job in samples for file in job.files}) == 150
    assert {job.deadline for job in samples} == {500.0}


@pytest.mark.parametrize("several", [openai(model="m/one", n=2), {"messages": "x", "params": {"n": 2}}])
def test_lines_that_want_more_choices_than_there_are_cost_nothing(several: dict[str, Any]) -> None:
    lines = [openai("first", model="m/one"), several, openai("last", model="m/two", n=2)]
    with pytest.raises(BatchInputError) as caught:
        taken(lines, model="m/one")
    assert [(problem["line"], problem["param"]) for problem in caught.value.problems] == [(2, "n")]
    assert taken(lines, model="m/one", skip_invalid=True)[0].total == 2
