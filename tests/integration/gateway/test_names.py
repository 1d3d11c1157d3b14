"""Names that callers make up, and that others read in logs, in metrics and in lists of what was spent.

The gateway is in this process; no worker is there.
"""

from typing import Any

import pytest

from palaver.shared.ledger import operations
from tests.integration.gateway.here import APIS, BODY, gateway_here
from tests.integration.ledger.world import World

pytestmark = pytest.mark.redis

TAKES_ANY = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
BODIES: dict[str, dict[str, Any]] = {
    APIS[0]: BODY,
    APIS[1]: {**BODY, "max_tokens": 10},
    APIS[2]: {"input": "Hi"},
    "/sessions/SESSION/messages": {"content": "Hi"},
}


@pytest.mark.parametrize("path", BODIES)
def test_a_model_whose_name_would_not_fit_in_a_line_is_refused(world: World, path: str) -> None:
    settings = world.settings.model_copy(update={"providers": {"local": TAKES_ANY}})
    with gateway_here(settings) as here, here.http() as http:
        session = http.post("/sessions", json={}).json()["session_id"]
        refused = http.post(path.replace("SESSION", session), json={**BODIES[path], "model": "local/m\nz"})
    assert refused.status_code in (404, 422)
    assert "model: must not contain control characters" in refused.text
    assert world.ledger.query(operations.unended(world.keys)) == 0
