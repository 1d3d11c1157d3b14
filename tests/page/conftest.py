"""One system and one Chromium for all tests; each test has a browser profile and a user of its own."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser import open_browser
from tests.integration.gateway.conftest import Stand, running_stand

HERE = Path(__file__).parent
TOML = (HERE / "palaver.toml").read_text(encoding="utf-8")
WAIT_MS = 20_000


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    agents = {"PALAVER_AGENTS": "tests.page.agents", "PALAVER_TOOLS": "tests.page.agents"}
    with running_stand(tmp_path_factory.mktemp("page"), toml=TOML, worker_env=agents) as stand:
        yield stand


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=WAIT_MS)
    with open_browser() as browser:
        yield browser


@pytest.fixture
def complaints() -> list[str]:
    """What the console has told: violations of the policy, and errors nobody caught."""
    return []


@pytest.fixture
def user() -> str:
    """Whose key the browser has."""
    return f"user-{os.urandom(4).hex()}"


@pytest.fixture
def context(stand: Stand, browser: Browser, user: str, complaints: list[str]) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=stand.url, viewport={"width": 1280, "height": 860})
    context.set_default_timeout(WAIT_MS)
    key = json.dumps(stand.make_key(tenant="acme", user=user))
    context.add_init_script(f"if (location.protocol !== 'about:') localStorage.setItem('palaver.key', {key})")
    context.on("console", lambda message: complaints.append(message.text))
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """The page, with the models in its list."""
    page = context.new_page()
    page.goto("/")
    expect(page.locator("#model option[value='default']")).to_be_attached()
    return page
