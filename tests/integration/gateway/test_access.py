"""Who may do what: keys, tenants, users, reader tokens, limits."""

import json
import time
from typing import Any

import httpx2
import pytest

from palaver.producer import AsyncClient
from palaver.producer.gateway.access import table
from palaver.shared.errors import UnauthorizedError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import operations
from palaver.shared.names import DEFAULT_PRIORITY
from palaver.shared.reader_tokens import make_reader_token
from tests.http_clients import http_client
from tests.integration.gateway.conftest import Stand, new_session
from tests.integration.gateway.sse import following, until_end

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]


LINE = {
    "custom_id": "1",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "scripted/echo", "messages": [{"role": "user", "content": "Hi"}]},
}


@pytest.fixture(scope="module")
def theirs(stand: Stand) -> dict[str, str]:
    """Ids of what is acme's."""
    session_id = new_session()
    handle = stand.client.submit("Hi", session_id=session_id, tenant="acme", user="ann")
    handle.result(timeout=20)
    with stand.http() as http:
        opened = http.post("/sessions", json={}).json()["session_id"]
        named = {"idempotency-key": new_session()}
        asked = http.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"], headers=named)
        upload = {"file": ("lines.jsonl", json.dumps(LINE))}
        file = http.post("/v1/files", files=upload, data={"purpose": "batch"}).json()["id"]
        window = {"endpoint": LINE["url"], "completion_window": "24h"}
        batch = http.post("/v1/batches", json={"input_file_id": file, **window}).json()["id"]
    ids = {"session": session_id, "opened": opened, "job": handle.job_id, "file": file, "batch": batch}
    return {**ids, "keyed": asked.headers["x-palaver-session"]}


UNKNOWN = {
    "session": "s-unknown",
    "opened": "00000000-0000-4000-8000-000000000000",
    "job": "01900000-0000-7000-8000-000000000000",
    "file": "01900000-0000-7000-8000-000000000001",
    "batch": "01900000-0000-7000-8000-000000000002",
    "keyed": "key-unknown",
}
BODIES: dict[str, dict[str, Any]] = {
    "/sessions/{session}/messages": {"content": "Hi"},
    "/sessions/{opened}/messages": {"content": "Hi"},
    "/sessions/{keyed}/messages": {"content": "Hi"},
    "/sessions/{session}/tokens": {},
    "/v1/responses": {"input": "Hi", "previous_response_id": "resp_{job}"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/batches": {
        "input_file_id": "{file}",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    },
}
ROUTES = [
    ("GET", "/sessions/{session}", ""),
    ("GET", "/sessions/{opened}", ""),
    ("GET", "/sessions/{keyed}", ""),
    ("GET", "/sessions/{session}/messages", ""),
    ("GET", "/sessions/{opened}/messages", ""),
    ("GET", "/sessions/{keyed}/messages", ""),
    ("POST", "/sessions/{session}/messages", ""),
    ("POST", "/sessions/{opened}/messages", ""),
    ("POST", "/sessions/{keyed}/messages", ""),
    ("GET", "/sessions/{session}/events", ""),
    ("GET", "/sessions/{session}/events?job={job}", ""),
    ("GET", "/sessions/{own}/events?job={job}", ""),
    ("GET", "/sessions/{opened}/events", ""),
    ("POST", "/sessions/{session}/tokens", ""),
    ("DELETE", "/sessions/{session}", ""),
    ("DELETE", "/sessions/{opened}", ""),
    ("GET", "/jobs?session={session}", ""),
    ("GET", "/jobs/{job}", ""),
    ("DELETE", "/jobs/{job}", ""),
    ("POST", "/jobs/{job}/retry", ""),
    ("GET", "/v1/responses/resp_{job}", ""),
    ("GET", "/v1/responses/resp_{job}?stream=true", ""),
    ("POST", "/v1/responses/resp_{job}/cancel", ""),
    ("POST", "/v1/responses", ""),
    ("POST", "/v1/chat/completions", "{session}"),
    ("POST", "/v1/chat/completions", "{opened}"),
    ("POST", "/v1/chat/completions", "{keyed}"),
    ("GET", "/v1/files/{file}", ""),
    ("GET", "/v1/files/{file}/content", ""),
    ("DELETE", "/v1/files/{file}", ""),
    ("POST", "/v1/batches", ""),
    ("GET", "/v1/batches/{batch}", ""),
    ("POST", "/v1/batches/{batch}/cancel", ""),
    ("GET", "/v1/files/batch-output-{batch}/content", ""),
]


@pytest.mark.parametrize(("method", "path", "session"), ROUTES)
def test_what_is_anothers_answers_as_what_never_was(
    stand: Stand, theirs: dict[str, str], method: str, path: str, session: str
) -> None:
    """Of another tenant, of none, and of another user of the same."""

    def ask(http: httpx2.Client, ids: dict[str, str]) -> httpx2.Response:
        body = BODIES.get(path)
        if body is not None:
            words = json.dumps(body)
            for name, value in ids.items():
                words = words.replace(f"{{{name}}}", value)
            body = json.loads(words)
        headers = {"x-palaver-session": session.format(**ids)} if session else {}
        return http.request(method, path.format(**ids), json=body, headers=headers)

    for fields in ({"tenant": "other"}, {}, {"tenant": "acme", "user": "bob"}):
        with stand.http(stand.make_key(**fields)) as http:
            own = {"own": http.post("/sessions", json={}).json()["session_id"]}
            found, missing = ask(http, {**own, **theirs}), ask(http, {**own, **UNKNOWN})
        told = found.text
        for name, value in theirs.items():
            told = told.replace(value, UNKNOWN[name])
        assert (found.status_code, told) == (404, missing.text)
        assert {*found.headers} == {*missing.headers}


def test_nobody_comes_into_the_session_of_a_key(stand: Stand) -> None:
    """Whoever can guess the key of somebody else's request has nothing of it."""
    named = {"idempotency-key": new_session()}
    body = BODIES["/v1/chat/completions"]
    sessions = set()
    for fields in ({"tenant": "acme"}, {"tenant": "other"}, {}, {"tenant": "acme", "user": "bob"}):
        with stand.http(stand.make_key(**fields)) as http:
            answer = http.post("/v1/chat/completions", json=body, headers=named)
            assert answer.status_code == 200
            sessions.add(answer.headers["x-palaver-session"])
            again = http.post("/v1/chat/completions", json=body, headers=named)
            assert again.headers["x-palaver-job"] == answer.headers["x-palaver-job"]
    assert len(sessions) == 4


def test_a_key_of_a_user_reads_what_is_his(stand: Stand) -> None:
    with stand.http(stand.make_key(tenant="acme", user="bob")) as http:
        answer = http.post("/v1/responses", json={"input": "Hi"})
        answer_id, session_id = answer.json()["id"], answer.headers["x-palaver-session"]
        assert http.get(f"/v1/responses/{answer_id}").status_code == 200
        assert http.get(f"/sessions/{session_id}/messages").status_code == 200
        more = {"input": "And?", "previous_response_id": answer_id}
        assert http.post("/v1/responses", json=more).status_code == 200
    with stand.http() as http:
        assert http.get(f"/v1/responses/{answer_id}").status_code == 200, "acme's own service acts for all"


def test_without_a_key_nothing_is_served(stand: Stand, theirs: dict[str, str]) -> None:
    with http_client(base_url=stand.url) as http:
        for path in ("/sessions", "/agents", f"/sessions/{theirs['session']}/events"):
            answer = http.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert (
                http.get(path, headers={"authorization": "Bearer plv_000000000000_" + "x" * 43}).status_code
                == 401
            )
            assert http.get(path, headers={"authorization": "Basic eDp5"}).status_code == 401
        assert http.get("/healthz").text == http.get("/readyz").text == "ok\n"
        assert http.get("/sessions", headers={"x-api-key": stand.key}).status_code == 200


async def test_a_key_is_revoked(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FRESH_SECONDS", 60)
    key = stand.make_key(tenant="acme")
    async with AsyncClient(stand.settings) as client:
        keys = table.KeyTable(client, may_be_open=True)
        assert not await keys.is_open()
        assert (await keys.key(key)).tenant == "acme"
        await client.ledger.query(operations.drop_api_key(client.ledger.keys, key.split("_")[1]))
        assert (await keys.key(key)).tenant == "acme", "it is asked for anew only when it is old"
        monkeypatch.setattr(table, "FRESH_SECONDS", 0)
        with pytest.raises(UnauthorizedError):
            await keys.key(key)


def test_a_key_ends(stand: Stand) -> None:
    with stand.http(stand.make_key(expires=time.time() - 1)) as http:
        assert http.get("/sessions").status_code == 401


def test_a_key_is_for_its_models(stand: Stand) -> None:
    with stand.http(stand.make_key(tenant="acme", models=["slow/*"])) as http:
        session_id = http.post("/sessions", json={}).json()["session_id"]
        path = f"/sessions/{session_id}/messages"
        assert http.post(path, json={"content": "Hi", "model": "slow/echo"}).status_code == 202
        for model in ({"model": "scripted/echo"}, {"model": ["slow/echo", "scripted/echo"]}, {}):
            refused = http.post(path, json={"content": "Hi", **model})
            assert (refused.status_code, refused.json()["error"]["param"]) == (403, "model")
        over = {"content": "Hi", "model": "slow/echo", "params": {"extra": {"model": "gpt-5-pro"}}}
        refused = http.post(path, json=over)
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, "params.extra.model")
        for name, value in {"messages": [], "max_tokens": 999, "n": 2, "models": ["a/b"]}.items():
            refused = http.post("/v1/responses", json={"model": "slow/echo", "input": "Hi", name: value})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
        for name, value in {"mcp_servers": [], "service_tier": "priority", "options": {}, "store": 1}.items():
            told = {"model": "slow/echo", "messages": [{"role": "user", "content": "Hi"}], name: value}
            refused = http.post("/v1/chat/completions", json=told)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
            over = {"content": "Hi", "model": "slow/echo", "params": {"extra": {name: value}}}
            refused = http.post(path, json=over)
            assert (refused.status_code, refused.json()["error"]["param"]) == (422, f"params.extra.{name}")
        done = stand.client.submit("Hi", model="scripted/echo", tenant="acme")
        done.result(timeout=20)
        refused = http.post(f"/jobs/{done.job_id}/retry")
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "model")


def test_a_key_for_some_models_has_no_unknown_fields(stand: Stand) -> None:
    """However they may come: bodies, lines of batches, and what somebody else has asked before."""
    said: dict[str, Any] = {"model": "slow/echo", "messages": [{"role": "user", "content": "Hi"}]}
    extra: dict[str, Any] = {"params": {"extra": {"of_next_year": 1}}}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    old = stand.client.submit("Hi", model="slow/echo", tenant="acme", **extra)
    old.result(timeout=20)
    with stand.http(stand.make_key(tenant="acme", models=["slow/*"], agents=[])) as http:
        session_id = http.post("/sessions", json={}).json()["session_id"]
        asked: list[tuple[str, Any]] = [
            ("/v1/chat/completions", {**said, "of_next_year": 1}),
            ("/v1/messages", {**said, "max_tokens": 5, "of_next_year": 1}),
            ("/v1/responses", {"model": "slow/echo", "input": "Hi", "of_next_year": 1}),
            (f"/sessions/{session_id}/messages", {"model": "slow/echo", "content": "Hi", **extra}),
            (f"/jobs/{old.job_id}/retry", {}),
        ]
        for lines in ({**line, "body": {**said, "of_next_year": 1}}, {**said, **extra}, "Hi"):
            sent = {"file": ("in.jsonl", json.dumps(lines).encode())}
            uploaded = http.post("/v1/files", files=sent, data={"purpose": "batch"}).json()["id"]
            wanted = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
            asked.append(("/v1/batches", {"input_file_id": uploaded, **wanted}))
        answers = [http.post(path, json=body) for path, body in asked]
        *extras, default = [answer.json()["error"] for answer in answers]
        assert [answer.status_code for answer in answers] == [400] * 3 + [422] * 2 + [400] * 2 + [403]
        assert ["of_next_year" in error["message"] for error in extras] == [True] * 7
        assert default["param"] == "model", "a line of mere text asks the default"
    named = stand.make_key(tenant="acme", models=["slow/*"], extra=["of_next_year"])
    for may in (named, stand.key):
        with stand.http(may) as http:
            for path, body in (*asked[:3], asked[4]):
                assert http.post(path, json=body).is_success, path


def test_a_key_has_a_limit(stand: Stand) -> None:
    """It is one limit, however many gateways there are."""
    with stand.http(stand.make_key(tenant="acme", requests_per_minute=1)) as http:
        first, second = http.get("/sessions"), http.get("/sessions")
    assert (first.status_code, second.status_code) == (200, 429)
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert second.json()["error"]["retryable"] is True


def test_users_of_a_tenant_have_sessions_of_their_own(stand: Stand) -> None:
    ann, bob = {"x-palaver-user": "ann"}, {"x-palaver-user": "bob"}
    with stand.http() as http:
        session_id = http.post("/sessions", json={}, headers=ann).json()["session_id"]
        assert http.get(f"/sessions/{session_id}", headers=ann).json()["user"] == "ann"
        assert http.get(f"/sessions/{session_id}", headers=bob).status_code == 404
        listed = http.get("/sessions", headers=ann).json()["items"]
        assert [session["session_id"] for session in listed] == [session_id]
    with stand.http(stand.make_key(tenant="acme", user="bob")) as http:
        assert http.get("/sessions", headers=ann).status_code == 403


def test_a_reader_token_reads_one_session(stand: Stand, theirs: dict[str, str]) -> None:
    session_id = theirs["session"]
    with stand.http() as http:
        made = http.post(f"/sessions/{session_id}/tokens", json={"seconds": 600}).json()
    assert 590 < made["expires"] - time.time() <= 600
    with http_client(base_url=stand.url, timeout=20) as browser:
        with following(browser, session_id, token=made["token"]) as events:
            assert until_end(events, theirs["job"])
        bearer = {"authorization": f"Bearer {made['token']}"}
        with following(browser, session_id, job=theirs["job"], headers=bearer) as events:
            assert until_end(events, theirs["job"])
        messages = browser.get(f"/sessions/{session_id}/messages", headers=bearer)
        assert [message["content"] for message in messages.json()["items"]] == ["Hi", "Hi"]
        assert browser.get(f"/sessions/{session_id}", headers=bearer).json()["context"] == {}
        refused = [
            browser.get(f"/sessions/{theirs['opened']}/events", headers=bearer),
            browser.post(f"/sessions/{session_id}/messages", json={"content": "Hi"}, headers=bearer),
            browser.delete(f"/sessions/{session_id}", headers=bearer),
            browser.get(f"/jobs/{theirs['job']}", headers=bearer),
            browser.post(f"/sessions/{session_id}/tokens", json={}, headers=bearer),
        ]
        assert [answer.status_code for answer in refused] == [403] * len(refused)
        for tenant in ("other", None):
            token = stand.client.reader_token(session_id, tenant=tenant)
            assert browser.get(f"/sessions/{session_id}/events", params={"token": token}).status_code == 404
        over = make_reader_token(stand.settings, session_id, tenant="acme", seconds=1, now=time.time() - 2)
        for token in (over, made["token"][:-4] + "AAAA", stand.key):
            assert browser.get(f"/sessions/{session_id}/events", params={"token": token}).status_code == 401


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/chat/completions", "metadata.palaver:background"),
        ("/v1/responses", "metadata.palaver:background"),
        ("/sessions/{opened}/messages", "metadata.palaver:background"),
    ],
)
def test_nobody_says_what_only_the_gateway_says_of_a_job(
    http: httpx2.Client, theirs: dict[str, str], path: str, param: str
) -> None:
    body = {"input": "Hi"} if path == "/v1/responses" else BODIES[path]
    answer = http.post(path.format(**theirs), json={**body, "metadata": {"palaver:background": True}})
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["param"] == param


def test_an_idempotency_key_is_of_one_user(stand: Stand) -> None:
    """Of a user that a service names, and of one whom a key is held to; for batches too."""
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    window = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    name = new_session()
    jobs, batches = set(), set()
    held = stand.make_key(tenant="acme", user="dora")
    for key, user in ((None, "ann"), (None, "carl"), (held, "dora")):
        headers = {"x-palaver-user": user, "idempotency-key": name}
        body = {"model": "scripted/echo", "messages": [{"role": "user", "content": f"Hi from {user}"}]}
        upload = {"file": ("in.jsonl", json.dumps({**line, "body": body}).encode())}
        with stand.http(key) as http:
            for _ in range(2):
                answer = http.post("/v1/chat/completions", json=body, headers=headers)
                assert answer.status_code == 200, answer.text
                jobs.add(answer.headers["x-palaver-job"])
            file = http.post("/v1/files", files=upload, data={"purpose": "batch"}, headers=headers).json()
            opened = http.post("/v1/batches", json={"input_file_id": file["id"], **window}, headers=headers)
            assert opened.status_code == 200, opened.text
            batches.add(opened.json()["id"])
    assert (len(jobs), len(batches)) == (3, 3)


def test_a_key_passes_others_only_if_it_is_for_that(stand: Stand) -> None:
    """Also not by doing again what somebody else has asked for."""
    urgent = {"content": "Hi", "model": "scripted/echo", "priority": 9}
    with (
        stand.http(stand.make_key(tenant="acme")) as usual,
        stand.http(stand.make_key(tenant="acme", priority_most=9)) as bound,
    ):
        session_id = usual.post("/sessions", json={}).json()["session_id"]
        messages = f"/sessions/{session_id}/messages"
        done = bound.post(messages, json=urgent)
        assert done.status_code == 202
        job_id = done.json()["job_id"]
        for refused in (usual.post(messages, json=urgent), usual.post(f"/jobs/{job_id}/retry")):
            assert (refused.status_code, refused.json()["error"]["param"]) == (403, "priority"), refused.text
        assert usual.post(messages, json={**urgent, "priority": 6}).status_code == 202


def test_a_key_for_a_low_priority_has_it_by_naming_none(stand: Stand) -> None:
    with stand.http(stand.make_key(tenant="acme", priority_most=2)) as low:
        session_id = low.post("/sessions", json={}).json()["session_id"]
        said = low.post(f"/sessions/{session_id}/messages", json={"content": "Hi", "model": "scripted/echo"})
        asked = low.post(
            "/v1/chat/completions",
            json={"model": "scripted/echo", "messages": [{"role": "user", "content": "Hi"}]},
        )
        jobs = [said.json()["job_id"], asked.headers["x-palaver-job"]]
        documents = [stand.client.view(job, document=True).document_json or b"" for job in jobs]
        assert [ChatJob.parse(document).priority for document in documents] == [2, 2]


def test_a_key_for_a_low_priority_has_it_for_what_others_have_asked(stand: Stand) -> None:
    """Who has a job done again names no priority; nor do the lines of a batch, in either form, and a repeat
    by another key asks for the same.
    """
    body = {"model": "scripted/echo", "messages": [{"role": "user", "content": "Hi"}]}
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    upload = {"file": ("in.jsonl", b"\n".join(json.dumps(entry).encode() for entry in (line, body)))}
    window = {"completion_window": "24h", "endpoint": "/v1/chat/completions"}
    with stand.http() as usual, stand.http(stand.make_key(tenant="acme", priority_most=2)) as low:
        job = usual.post("/v1/chat/completions", json=body).headers["x-palaver-job"]
        again = low.post(f"/jobs/{job}/retry")
        assert again.status_code == 202, again.text
        document = stand.client.view(again.json()["job_id"], document=True).document_json or b""
        assert ChatJob.parse(document).priority == 2
        for key in (low, usual, low):
            file = key.post("/v1/files", files=upload, data={"purpose": "batch"}).json()
            asked = {"input_file_id": file["id"], **window}
            opened = key.post("/v1/batches", json=asked, headers={"Idempotency-Key": "once"})
            assert opened.status_code == 200, opened.text
        named = {**body, "priority": DEFAULT_PRIORITY}  # which is more than the key is for
        upload = {"file": ("in.jsonl", json.dumps(named).encode())}
        file = low.post("/v1/files", files=upload, data={"purpose": "batch"}).json()
        refused = low.post("/v1/batches", json={"input_file_id": file["id"], **window})
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "priority"), refused.text


def test_a_key_is_for_its_agents(stand: Stand) -> None:
    """Also in a session that was opened by another key, and for a job that is done again."""
    with stand.http() as http, stand.http(stand.make_key(tenant="acme", agents=["docs/*"])) as bound:
        opened = [http.post("/sessions", json={"agent": path}).json() for path in ("docs/1", "ops/1")]
        docs, ops = (f"/sessions/{session['session_id']}/messages" for session in opened)
        assert bound.post("/sessions", json={"agent": "docs/2"}).status_code == 201
        job = http.post(ops, json={"content": "Hi"}).json()
        assert http.delete(f"/jobs/{job['job_id']}").status_code == 202
        for refused in (
            bound.post("/sessions", json={"agent": "ops/1"}),
            bound.post(ops, json={"content": "Hi"}),
            bound.post(f"/jobs/{job['job_id']}/retry"),
        ):
            assert (refused.status_code, refused.json()["error"]["param"]) == (403, "agent"), refused.text
        assert bound.post(docs, json={"content": "Hi"}).status_code == 202
