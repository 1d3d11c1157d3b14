"""Who may do what: keys, tenants, users, reader tokens, limits."""

import asyncio
import time

import httpx2
import pytest

from palaver.producer import AsyncClient
from palaver.producer.gateway.access import table
from palaver.shared.errors import UnauthorizedError
from palaver.shared.ledger import operations
from palaver.shared.reader_tokens import make_reader_token
from tests.integration.gateway.conftest import Stand, new_session
from tests.integration.gateway.sse import following, until_end

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]


@pytest.fixture(scope="module")
def theirs(stand: Stand) -> dict[str, str]:
    """Ids of what is acme's."""
    session_id = new_session()
    handle = stand.client.submit("Hi", session_id=session_id, tenant="acme")
    handle.result(timeout=20)
    with stand.http() as http:
        opened = http.post("/sessions", json={}).json()["session_id"]
    return {"session": session_id, "opened": opened, "job": handle.job_id}


ROUTES = [
    ("GET", "/sessions/{session}"),
    ("GET", "/sessions/{opened}"),
    ("GET", "/sessions/{session}/messages"),
    ("GET", "/sessions/{opened}/messages"),
    ("POST", "/sessions/{session}/messages"),
    ("POST", "/sessions/{opened}/messages"),
    ("GET", "/sessions/{session}/events"),
    ("GET", "/sessions/{opened}/events"),
    ("POST", "/sessions/{session}/tokens"),
    ("DELETE", "/sessions/{session}"),
    ("DELETE", "/sessions/{opened}"),
    ("GET", "/jobs?session={session}"),
    ("GET", "/jobs/{job}"),
    ("DELETE", "/jobs/{job}"),
    ("POST", "/jobs/{job}/retry"),
]
BODIES = {"messages": {"content": "Hi"}, "tokens": {}}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_what_is_anothers_answers_as_what_never_was(
    stand: Stand, theirs: dict[str, str], method: str, path: str
) -> None:
    body = BODIES.get(path.rpartition("/")[2])
    unknown = {"session": new_session(), "opened": "00000000-0000-4000-8000-000000000000"}
    unknown["job"] = "01900000-0000-7000-8000-000000000000"
    others = [stand.make_key(tenant="other"), stand.make_key(), stand.make_key(tenant="acme", user="bob")]
    for key in others if "{opened}" in path else others[:2]:
        with stand.http(key) as http:
            found = http.request(method, path.format(**theirs), json=body)
            missing = http.request(method, path.format(**unknown), json=body)
        told = found.text
        for name, value in theirs.items():
            told = told.replace(value, unknown[name])
        assert (found.status_code, told) == (404, missing.text)
        assert {*found.headers} == {*missing.headers}


def test_without_a_key_nothing_is_served(stand: Stand, theirs: dict[str, str]) -> None:
    with httpx2.Client(base_url=stand.url, trust_env=False) as http:
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
    monkeypatch.setattr(table, "FRESH_SECONDS", 0.1)
    key = stand.make_key(tenant="acme")
    async with AsyncClient(stand.settings) as client:
        keys = table.KeyTable(client, may_be_open=True)
        assert not await keys.is_open()
        assert (await keys.key(key)).tenant == "acme"
        await client.ledger.query(operations.drop_api_key(client.ledger.keys, key.split("_")[1]))
        assert (await keys.key(key)).tenant == "acme", "it is asked for anew only when it is old"
        await asyncio.sleep(0.1)
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
    with httpx2.Client(base_url=stand.url, timeout=20, trust_env=False) as browser:
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
        over = make_reader_token(stand.settings, session_id, seconds=1, now=time.time() - 2)
        for token in (over, made["token"][:-4] + "AAAA", stand.key):
            assert browser.get(f"/sessions/{session_id}/events", params={"token": token}).status_code == 401
    assert stand.client.reader_token(session_id).startswith("plr_")
