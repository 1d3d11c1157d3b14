"""The gateway against its own OpenAPI document: what fits it and what does not is answered as it says, never
with a 5xx.
"""

from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.gateway.conftest import Stand, new_session

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("gateway")]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FEW, MANY = 2, 80
PATIENT = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
BODIES = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/messages",
    "/v1/messages/count_tokens",
]
ENDLESS = "/sessions/{session_id}/events"


def test_answers_are_as_documented(stand: Stand) -> None:
    handle = stand.client.submit("Hi", session_id=new_session(), tenant="acme")
    handle.result(timeout=20)
    known = {
        "session_id": handle.session_id,
        "job_id": handle.job_id,
        "response_id": f"resp_{handle.job_id}",
        "model": "scripted/echo",
    }
    with stand.http() as http:
        document = http.get("/openapi.json").json()
    api: Any = schemathesis.openapi.from_dict(document)
    assert {"ToolResultBlock", "OutputItem", "Message"} <= document["components"]["schemas"].keys()
    operations = [found.ok() for found in api.get_all_operations()]
    assert {"POST /v1/chat/completions", "GET /sessions/{session_id}/events"} <= {o.label for o in operations}
    for operation in operations:
        _ask(operation, stand, GenerationMode.POSITIVE, FEW)
        if operation.path not in BODIES:  # which `make fuzz` and unit tests look into
            with suppress(Unsatisfiable):  # where nothing is asked, nothing can be asked wrongly
                _ask(operation, stand, GenerationMode.NEGATIVE, FEW)
        if operation.method.upper() == "GET" and operation.path != ENDLESS:
            _ask(operation, stand, GenerationMode.POSITIVE, FEW, known)


@pytest.mark.fuzz
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", BODIES)
def test_bodies_of_any_kind_are_answered_as_documented(stand: Stand, path: str, mode: GenerationMode) -> None:
    with stand.http() as http:
        api: Any = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
    _ask(api[path]["POST"], stand, mode, MANY, body={"model": "scripted/echo"})


def test_the_examples_of_the_document_work(stand: Stand) -> None:
    with stand.http() as http:
        document = http.get("/openapi.json").json()
        schemas, tried = document["components"]["schemas"], 0
        for path, methods in document["paths"].items():
            body = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
            name = body["schema"]["$ref"].rpartition("/")[2] if body and "$ref" in body["schema"] else ""
            for example in schemas.get(name, {}).get("examples", []):
                session_id = http.post("/sessions", json={}).json()["session_id"]
                answer = http.post(path.replace("{session_id}", session_id), json=example)
                assert answer.is_success, (path, answer.text)
                tried += 1
    assert tried >= 6


def _ask(
    operation: Any,
    stand: Stand,
    mode: GenerationMode,
    examples: int,
    known: dict[str, str] | None = None,
    body: dict[str, Any] | None = None,
) -> None:
    """`known` are parts of the path that there are; `body` goes over every body that has such fields."""
    headers = {"authorization": f"Bearer {stand.key}"}

    @settings(PATIENT, max_examples=examples)
    @given(case=operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        case.path_parameters.update({k: v for k, v in (known or {}).items() if k in case.path_parameters})
        if isinstance(case.body, dict):
            case.body |= {name: value for name, value in (body or {}).items() if name in case.body}
        case.call_and_validate(base_url=stand.url, headers=headers, checks=CHECKS, timeout=20)

    answered()
