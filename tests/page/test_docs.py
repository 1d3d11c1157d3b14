"""/docs in a browser that reaches nothing but the gateway."""

import re

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.integration.gateway.conftest import Stand

pytestmark = [pytest.mark.page, pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("page")]


def test_a_route_is_tried_with_its_example(
    stand: Stand, context: BrowserContext, complaints: list[str]
) -> None:
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto("/docs")
    route = page.locator(".opblock", has=page.locator('[data-path="/v1/chat/completions"]'))
    route.locator(".opblock-summary").click()
    route.get_by_role("button", name="Try it out").click()
    route.get_by_role("button", name="Execute").click()
    expect(route.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(route.locator(".live-responses-table")).to_contain_text(re.compile("assistant"))
    assert complaints == []
    assert [url for url in requests if not url.startswith((stand.url, "data:"))] == []
