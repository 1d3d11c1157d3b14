"""Files and batches with the official `openai` package."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http_clients import http_client
from tests.integration.gateway.conftest import Stand, script
from tests.sdks import openai
from tests.servers import eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]


@pytest.fixture
def client(stand: Stand) -> Iterator[Any]:
    http = http_client()
    with openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, http_client=http, timeout=30) as client:
        yield client


@pytest.fixture
def other(stand: Stand) -> Iterator[Any]:
    """Another tenant's."""
    http, key = http_client(), stand.make_key(tenant="other")
    with openai.OpenAI(base_url=f"{stand.url}/v1", api_key=key, http_client=http, max_retries=0) as client:
        yield client


EXPIRY = {"anchor": "created_at", "seconds": 3600}


def lines(*prompts: str, model: str = "scripted/echo") -> bytes:
    entries = [
        {
            "custom_id": f"line {number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": [{"role": "user", "content": prompt}]},
        }
        for number, prompt in enumerate(prompts)
    ]
    return "\n".join(json.dumps(entry) for entry in entries).encode()


def uploaded(client: Any, content: bytes, name: str = "input.jsonl") -> Any:
    return client.files.create(file=(name, content), purpose="batch")


def test_files(client: Any, other: Any) -> None:
    file = uploaded(client, b"one two", "notes.txt")
    assert (file.filename, file.bytes, file.purpose) == ("notes.txt", 7, "batch")
    other_one = client.files.create(file=("a.txt", b"x"), purpose="assistants")
    assert client.files.retrieve(other_one.id).purpose == "assistants"
    assert [found.id for found in client.files.list(purpose="assistants")] == [other_one.id]
    first = client.files.list(limit=1, order="asc")
    assert first.has_more
    assert {file.id, other_one.id} <= {found.id for found in first}, "the next pages are asked for"
    for wrong in ({"purpose": "nonsense"}, {"purpose": "batch", "expires_after": EXPIRY}):
        with pytest.raises(openai.BadRequestError):
            client.files.create(file=("a.txt", b"x"), **wrong)
    with pytest.raises(openai.BadRequestError):
        client.files.list(after="none")
    assert client.files.content(file.id).read() == b"one two"
    assert file.id in [found.id for found in client.files.list()]
    assert client.files.retrieve(file.id).filename == "notes.txt"
    for call in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError) as found:
            call(file.id)
        with pytest.raises(openai.NotFoundError) as missing:
            call("01900000-0000-7000-8000-000000000000")
        assert str(found.value) == str(missing.value)
    assert file.id not in [found.id for found in other.files.list()]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_a_page_of_files_looks_at_no_others(stand: Stand) -> None:
    with stand.http() as http:
        http.headers["x-palaver-user"] = "of few files"
        ids = [
            http.post("/v1/files", files={"file": ("a.txt", b"x")}, data={"purpose": "user_data"}).json()[
                "id"
            ]
            for _ in range(3)
        ]
        (card,) = Path(stand.settings.files_url.removeprefix("file://")).glob(f"owners/*/files/{ids[0]}")
        known = card.read_bytes()
        card.write_bytes(b"of a bad disk")
        page = http.get("/v1/files", params={"limit": 1}).json()
        card.write_bytes(known)
        assert ([file["id"] for file in page["data"]], page["has_more"]) == ([ids[2]], True)
        rest = http.get("/v1/files", params={"limit": 1, "after": ids[1]}).json()
        assert ([file["id"] for file in rest["data"]], rest["has_more"]) == ([ids[0]], False)


def test_a_file_of_no_type_that_is_taken(client: Any) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        uploaded(client, b"\x7fELF\x02\x01\x01" + bytes(64), "program")
    assert refused.value.status_code == 415
    with pytest.raises(openai.BadRequestError):
        uploaded(client, b"", "empty.txt")


def test_a_batch(client: Any, other: Any) -> None:
    failing = script(fail={"kind": "status", "status": 400})
    many = json.loads(lines("one"))
    many = json.dumps({**many, "custom_id": "many", "body": {**many["body"], "n": 2}}).encode()
    file = uploaded(client, lines("one") + b"\n" + many)
    with pytest.raises(openai.BadRequestError) as refused:  # the scripted provider gives one choice
        client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert "line 2: n: must be 1: 'scripted/echo' gives one choice at a time" in str(refused.value)
    bought = json.loads(lines("one"))
    bought = json.dumps({**bought, "body": {**bought["body"], "plugins": [{"id": "web"}]}}).encode()
    with pytest.raises(openai.BadRequestError) as refused:
        client.batches.create(
            input_file_id=uploaded(client, bought).id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
    assert "line 1: params.extra.plugins: is not taken from clients" in str(refused.value)
    file = uploaded(client, lines("one", "two", failing))
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"a": "b"},
    )
    assert (batch.input_file_id, batch.metadata, batch.request_counts.total) == (file.id, {"a": "b"}, 3)
    assert eventually(lambda: client.batches.retrieve(batch.id).status == "completed", seconds=60, every=0.1)
    done = client.batches.retrieve(batch.id)
    assert (done.request_counts.completed, done.request_counts.failed) == (2, 1)
    assert done.completed_at >= done.created_at
    output = client.files.content(done.output_file_id).text.splitlines()
    answers = {line["custom_id"]: line["response"]["body"] for line in map(json.loads, output)}
    assert answers["line 1"]["choices"][0]["message"]["content"] == "two"
    told = map(json.loads, client.files.content(done.error_file_id).text.splitlines())
    errors = {error["custom_id"]: error["response"]["body"]["error"] for error in told}
    assert errors.keys() == {"line 2"}
    result = client.files.retrieve(done.output_file_id)
    content = client.files.content(done.output_file_id).read()
    assert (result.purpose, result.bytes) == ("batch_output", len(content))
    with pytest.raises(openai.BadRequestError):
        client.files.delete(done.output_file_id)
    assert client.models.retrieve(answers["line 1"]["model"]).id == "scripted/echo"
    with pytest.raises(openai.BadRequestError):
        client.batches.list(after="none")
    assert batch.id in [found.id for found in client.batches.list(limit=1)]
    assert batch.id not in [found.id for found in other.batches.list()]
    for call, name in (
        (other.batches.retrieve, batch.id),
        (other.batches.cancel, batch.id),
        (other.files.content, done.output_file_id),
    ):
        with pytest.raises(openai.NotFoundError) as found:
            call(name)
        with pytest.raises(openai.NotFoundError) as missing:
            call(name.replace(batch.id, "01900000-0000-7000-8000-000000000000"))
        assert str(found.value).replace(batch.id, "ID") == str(missing.value).replace(
            "01900000-0000-7000-8000-000000000000", "ID"
        )


def test_a_batch_is_cancelled(stand: Stand, client: Any) -> None:
    file = uploaded(client, lines(*[script(endless=True, rate=20)] * 3))
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    with stand.http() as http:
        refused = http.delete(f"/sessions/{batch.id}")
    assert (refused.status_code, "a batch's" in refused.text) == (409, True), "half of it would stay"
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    assert eventually(lambda: client.batches.retrieve(batch.id).status == "cancelled", seconds=60, every=0.1)


def test_a_batch_is_asked_again_with_its_file_uploaded_again(client: Any) -> None:
    def ask(content: bytes) -> Any:
        return client.batches.create(
            input_file_id=uploaded(client, content).id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            extra_headers={"Idempotency-Key": "of a client that was cut off"},
        )

    first, again = ask(lines("one")), ask(lines("one"))
    assert (again.id, again.input_file_id) == (first.id, first.input_file_id)
    with pytest.raises(openai.ConflictError, match="other lines or options"):
        ask(lines("two"))


def test_wrong_batches(stand: Stand, client: Any, other: Any) -> None:
    good = uploaded(client, lines("one", model="scripted/echo"))
    asked = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    for content in (b"{", lines("one", model="nobody/x"), lines("")):
        with pytest.raises(openai.BadRequestError, match="1 of 1 lines"):
            client.batches.create(input_file_id=uploaded(client, content).id, **asked)
    with pytest.raises(openai.NotFoundError):
        other.batches.create(input_file_id=good.id, **asked)
    with pytest.raises(openai.BadRequestError):
        client.batches.create(input_file_id=good.id, endpoint="/v1/embeddings", completion_window="24h")
    every = json.loads(lines("one"))
    every["body"]["tools"] = [{"type": "function", "function": {"name": "*"}}]
    with pytest.raises(openai.BadRequestError, match="one by one"):
        client.batches.create(input_file_id=uploaded(client, json.dumps(every).encode()).id, **asked)
    marked = {"messages": "one", "model": "scripted/echo", "metadata": {"palaver:unstored": True}}
    with pytest.raises(openai.BadRequestError, match="palaver:unstored"):
        client.batches.create(input_file_id=uploaded(client, json.dumps(marked).encode()).id, **asked)
    slow = stand.make_key(tenant="acme", models=["slow/*"])
    limited: Any = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=slow, http_client=http_client())
    ours = lines("one", model="slow/echo") + b'\n{"messages": "one", "model": ["scripted/echo"]}'
    for file in (good, uploaded(client, ours)):
        with pytest.raises(openai.PermissionDeniedError):
            limited.batches.create(input_file_id=file.id, **asked)
