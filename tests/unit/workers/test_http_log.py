"""What the log says of a request."""

import logging

import pytest

from palaver.shared.errors import ConnectionError
from palaver.workers.http import HttpClient, HttpRequest
from tests.servers import free_port


async def test_a_request_is_told_without_what_may_be_a_key(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    url = f"http://user:canary@127.0.0.1:{port}/v1/chat?key=canary"
    request = HttpRequest(method="POST", url=url, headers={"x-api-key": "canary"}, json={"said": "canary"})
    client = HttpClient()
    with caplog.at_level(logging.DEBUG), pytest.raises(ConnectionError):
        async with await client.send(request):
            pass
    await client.aclose()
    record = caplog.records[-1]
    assert record.getMessage().startswith(
        f"http.request method=POST url=http://127.0.0.1:{port}/v1/chat status=ConnectionError seconds="
    )
    assert "canary" not in caplog.text
