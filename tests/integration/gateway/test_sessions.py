"""Sessions over HTTP: opened, spoken in, followed, listed, removed."""

from typing import Any

import httpx2
import pytest

from palaver.shared.accumulator import accumulate
from palaver.shared.events import parse_event
from tests.integration.gateway.conftest import Stand, new_session, script
from tests.integration.gateway.sse import following, told, until_end

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]


def test_a_conversation(http: httpx2.Client) -> None:
    opened = http.post("/sessions", json={"context": {"city": "Ulm"}})
    assert opened.status_code == 201
    session_id = opened.json()["session_id"]
    said = http.post(f"/sessions/{session_id}/messages", json={"content": "one two three"})
    assert said.status_code == 202
    job = said.json()
    assert said.headers["x-palaver-job"] == job["job_id"]
    with following(http, session_id, after=job["cursor"]) as events:
        answer = until_end(events, job["job_id"])
    state = accumulate(map(parse_event, answer))
    assert state.text == "one two three"
    assert [event["seq"] for event in answer] == list(range(1, len(answer) + 1))
    messages = http.get(f"/sessions/{session_id}/messages").json()
    assert [(message["role"], message["content"]) for message in messages["items"]] == [
        ("user", "one two three"),
        ("assistant", "one two three"),
    ]
    shown = http.get(f"/sessions/{session_id}").json()
    assert shown["context"] == {"city": "Ulm"}
    assert shown["seq"] == shown["resume_after"] == answer[-1]["seq"]
    listed = http.get("/sessions", params={"limit": 500}).json()["items"]
    assert session_id in [session["session_id"] for session in listed]
    assert http.delete(f"/sessions/{session_id}").status_code == 204
    assert http.get(f"/sessions/{session_id}").status_code == 404
    assert http.get(f"/sessions/{session_id}/events").status_code == 404


def test_a_session_of_a_service_is_followed_by_a_browser(stand: Stand, http: httpx2.Client) -> None:
    session_id = new_session()
    handle = stand.client.submit(script(n=30, rate=200), session_id=session_id, tenant="acme")
    with following(http, session_id) as events:
        first = until_end(events, handle.job_id)
    with following(http, session_id, headers={"last-event-id": str(first[5]["seq"])}, after=0) as events:
        assert until_end(events, handle.job_id) == first[6:]
    with following(http, session_id, job=handle.job_id) as events:
        assert list(events) == first, "the stream of a job ends with it"
    history = http.get(f"/sessions/{session_id}/messages").json()["items"]
    assert [message["role"] for message in history] == ["user", "assistant"]
    assert history[1]["job_id"] == handle.job_id
    page = http.get(f"/sessions/{session_id}/messages", params={"limit": 1}).json()
    assert page["items"] == history[:1]
    page = http.get(f"/sessions/{session_id}/messages", params={"limit": 1, "after": page["after"]}).json()
    assert (page["items"], page["after"]) == (history[1:], None)


def test_many_readers_of_one_session_read_the_same(stand: Stand, http: httpx2.Client) -> None:
    """Some come early, some late; one of them comes back: all are told the same, from a ring or the log."""
    session_id = new_session()
    first = stand.client.submit(script(n=400, rate=0), session_id=session_id, tenant="acme")
    first.result(timeout=30)
    second = stand.client.submit(script(n=40, rate=200), session_id=session_id, tenant="acme")
    with (
        following(http, session_id) as one,
        following(http, session_id, after=second.cursor) as two,
        following(http, session_id, after=3) as three,
    ):
        whole = until_end(one, second.job_id)
        assert [event["seq"] for event in whole] == list(range(1, len(whole) + 1))
        assert until_end(two, second.job_id) == whole[second.cursor :]
        assert until_end(three, second.job_id) == whole[3:]


def test_a_stream_says_how_to_come_back(http: httpx2.Client, stand: Stand) -> None:
    session_id = new_session()
    stand.client.submit("Hi", session_id=session_id, tenant="acme").result(timeout=20)
    with http.stream("GET", f"/sessions/{session_id}/events") as response:
        stream = told(response)
        assert next(stream) == ("retry", 1000, None)
        assert next(stream).kind == "comment"
        event = next(stream)
        assert event.id == event.value["seq"] == 1


def test_jobs_are_listed_shown_cancelled_and_retried(stand: Stand, http: httpx2.Client) -> None:
    session_id = new_session()
    done = stand.client.submit("Hi", session_id=session_id, tenant="acme")
    done.result(timeout=20)
    endless = stand.client.submit(script(endless=True, rate=50), session_id=session_id, tenant="acme")
    next(iter(endless.chunks()))
    jobs = http.get("/jobs", params={"session": session_id}).json()["items"]
    assert [(job["job_id"], job["status"]) for job in jobs] == [
        (endless.job_id, "running"),
        (done.job_id, "completed"),
    ]
    running = http.get("/jobs", params={"session": session_id, "status": "running"}).json()["items"]
    assert [job["job_id"] for job in running] == [endless.job_id]
    shown = http.get(f"/jobs/{done.job_id}").json()
    assert shown["response"]["content"] == "Hi"
    assert http.get(f"/sessions/{session_id}").json()["resume_after"] == endless.cursor
    assert http.delete(f"/jobs/{endless.job_id}").status_code == 202
    with following(http, session_id, job=endless.job_id) as events:
        assert list(events)[-1]["data"]["status"] == "cancelled"
    again = http.post(f"/jobs/{done.job_id}/retry").json()
    assert stand.client.job(again["job_id"]).result(timeout=20).content == "Hi"
    assert http.post(f"/jobs/{done.job_id}/retry").json() == again


def test_a_session_of_jobs_alone_is_removed(stand: Stand, http: httpx2.Client) -> None:
    session_id = new_session()
    stand.client.submit(script(endless=True, rate=50), session_id=session_id, tenant="acme")
    assert http.delete(f"/sessions/{session_id}").status_code == 204
    assert http.get(f"/sessions/{session_id}").status_code == 404


def test_idempotency_keys(http: httpx2.Client) -> None:
    session_id = http.post("/sessions", json={}).json()["session_id"]
    headers = {"idempotency-key": "k1"}
    path = f"/sessions/{session_id}/messages"
    first = http.post(path, json={"content": "Hi"}, headers=headers)
    assert http.post(path, json={"content": "Hi"}, headers=headers).json() == first.json()
    other = http.post(path, json={"content": "Ho"}, headers=headers)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/sessions/{}/messages", {"content": ""}, 422, "messages[0].content"),
        ("POST", "/sessions/{}/messages", {"content": "Hi", "priority": 10}, 422, "priority"),
        ("POST", "/sessions/{}/messages", {"content": "Hi", "model": "nobody/x"}, 422, "model"),
        ("POST", "/sessions/{}/messages", {"words": "Hi"}, 422, "content"),
        ("GET", "/sessions/{}/events?after=-1", None, 422, "after"),
        ("POST", "/sessions", {"agent": "a" * 300}, 422, "agent"),
        ("GET", "/sessions/no such id", None, 422, "session_id"),
        ("GET", "/nowhere", None, 404, None),
        ("PUT", "/sessions", None, 405, None),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(
    stand: Stand, http: httpx2.Client, method: str, path: str, body: object, status: int, param: str | None
) -> None:
    session_id = http.post("/sessions", json={}).json()["session_id"]
    answer = http.request(method, path.replace("{}", session_id), json=body)
    assert answer.status_code == status, answer.text
    assert param is None or answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("0", "must be at least 1, not 0"),
        ("1_000.0", "must be at most 500, not 1000"),
        ("9" * 99, "must be at most 500, not a huge number"),
        ("1e3", "must be a valid integer, not a string of 3 characters"),
    ],
)
def test_a_number_of_an_address_is_told_as_one(http: httpx2.Client, limit: str, told: str) -> None:
    answer = http.get("/sessions", params={"limit": limit})
    assert answer.json()["error"]["message"] == f"limit: {told}"


def test_a_chat_goes_on_in_another_session(http: httpx2.Client) -> None:
    session_id = http.post("/sessions", json={}).json()["session_id"]
    earlier = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "ONE"}]
    path = f"/sessions/{session_id}/messages"
    asked: dict[str, Any] = {
        "json": {"content": "two", "earlier": earlier},
        "headers": {"idempotency-key": "k"},
    }
    job = http.post(path, **asked).json()
    with following(http, session_id, after=job["cursor"]) as events:
        end = until_end(events, job["job_id"])[-1]
    assert end["data"]["usage"]["input_tokens"] == 3, "the model was told all of it"
    items = http.get(path).json()["items"]
    assert [(item["role"], item["content"], item["metadata"]) for item in items] == [
        ("user", "one", {"earlier": True}),
        ("assistant", "ONE", {"earlier": True}),
        ("user", "two", {}),
        ("assistant", "two", {}),
    ]
    assert http.post(path, **asked).json() == job, "once more, and taken once"
    for headers in ({}, {"idempotency-key": "other"}):
        refused = http.post(path, json={"content": "three", "earlier": earlier}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["param"]) == (422, "earlier")
    (told,) = http.get("/jobs", params={"session": session_id, "whole": True}).json()["items"]
    assert told["response"]["content"] == "two"
