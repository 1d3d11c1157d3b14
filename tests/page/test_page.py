"""The chat page as a person uses it: a real browser, gateway, worker and Redis."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.integration.gateway.conftest import Stand, script
from tests.page.line import Line

pytestmark = [pytest.mark.page, pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("page")]

WORDS = " ".join(f"w{number}" for number in range(120))  # five seconds of an answer that says this


def ask(page: Page, question: str, model: str | None = None) -> Locator:
    """Ask, and return the turn on the screen."""
    before = page.locator(".turn").count()
    if model is not None:
        page.get_by_label("Model").select_option(model)
    page.get_by_label("Message").fill(question)
    page.get_by_label("Message").press("Enter")
    turn = page.locator(".turn").nth(before)
    expect(turn.locator(".bubble")).to_have_text(question)
    return turn


def expect_end(turn: Locator, status: str = "completed") -> None:
    expect(turn).to_have_attribute("data-status", status)


def expect_answer(turn: Locator, text: str = WORDS) -> None:
    """The answer is complete, with every word of it once."""
    expect_end(turn)
    expect(turn.locator(".markdown")).to_have_text(text)


@contextmanager
def crowd(stand: Stand, count: int) -> Iterator[None]:
    """Meanwhile `narrow`, which answers one at a time, does, and so many others wait for it."""
    words: dict[str, Any] = {"model": "narrow/echo", "tenant": "acme"}
    holding = stand.client.submit(script(endless=True, rate=5), **words)
    next(iter(holding))
    handles = stand.client.submit_many([{"messages": "before", **words}] * count)
    try:
        yield
    finally:
        holding.cancel()
    assert [handle.result(timeout=30).content for handle in handles] == ["before"] * count


def session_of(page: Page) -> str:
    page.wait_for_url(re.compile("#.+"))
    return page.url.partition("#")[2]


def test_an_answer_streams(page: Page, complaints: list[str]) -> None:
    turn = ask(page, WORDS)
    expect(turn.locator(".markdown")).to_contain_text("w5")
    assert turn.get_attribute("data-status") == "running", "words are shown while others are still to come"
    expect(turn.locator("article")).to_have_attribute("aria-busy", "true")
    expect_answer(turn)
    expect(page.get_by_role("status").filter(has_text="complete")).to_be_attached()
    expect(page.get_by_role("link", name="w0 w1")).to_have_attribute("aria-current", "page")
    expect(page).to_have_title(re.compile("^w0 w1.* · Palaver$"))
    assert complaints == []


def test_a_reload_in_the_middle_of_an_answer_loses_nothing(page: Page) -> None:
    turn = ask(page, WORDS)
    expect(turn.locator(".markdown")).to_contain_text("w20")
    page.reload()
    expect(turn.locator(".bubble")).to_have_text(WORDS)
    expect(turn.locator(".markdown")).to_contain_text("w25")
    assert turn.get_attribute("data-status") == "running"
    expect_answer(turn)


def test_a_second_tab_in_the_middle_of_an_answer_shows_the_same(page: Page, context: BrowserContext) -> None:
    turn = ask(page, WORDS)
    expect(turn.locator(".markdown")).to_contain_text("w20")
    second = context.new_page()
    second.goto(f"/#{session_of(page)}")
    same = second.locator(".turn")
    expect(same.locator(".markdown")).to_contain_text("w20")
    assert same.get_attribute("data-status") == "running"
    expect_answer(turn)
    expect_answer(same)
    assert same.locator(".markdown").inner_html() == turn.locator(".markdown").inner_html()
    asked = ask(second, "from the other tab", "quick/echo")
    expect_answer(asked, "from the other tab")
    expect(page.locator(".turn").nth(1).locator(".bubble")).to_have_text("from the other tab")
    expect_answer(page.locator(".turn").nth(1), "from the other tab")


def test_a_network_that_is_away_for_a_while_loses_nothing(page: Page, context: BrowserContext) -> None:
    turn = ask(page, WORDS)
    expect(turn.locator(".markdown")).to_contain_text("w10")
    context.set_offline(True)
    expect(page.locator("#offline")).to_be_visible()
    context.set_offline(False)
    expect_answer(turn)
    expect(page.locator("#offline")).to_be_hidden()


def test_a_network_that_dies_without_a_word_loses_nothing(stand: Stand, context: BrowserContext) -> None:
    with Line(int(stand.url.rpartition(":")[2])) as line:
        page = context.new_page()
        page.goto(line.url)
        turn = ask(page, WORDS)
        expect(turn.locator(".markdown")).to_contain_text("w10")
        line.die()
        page.wait_for_timeout(10_000)  # nothing tells the page that there is no network
        assert turn.get_attribute("data-status") == "running"
        assert "w119" not in turn.locator(".markdown").inner_text()
        line.revive()
        expect_answer(turn)
        expect(page.locator("#offline")).to_be_hidden()


def test_a_gateway_that_dies_and_comes_back_loses_nothing(stand: Stand, context: BrowserContext) -> None:
    gateway, url = stand.start_gateway()
    page = context.new_page()
    page.goto(url)
    turn = ask(page, WORDS, "slow/echo")
    expect(turn.locator(".markdown")).to_contain_text("w10")
    gateway.kill()
    expect(page.locator("#offline")).to_be_visible()
    stand.start_gateway("--port", url.rpartition(":")[2])
    expect_answer(turn)


def test_an_answer_whose_job_is_lost_ends(stand: Stand, page: Page) -> None:
    """As after a failover to a Redis that had not heard of it yet."""
    turn = ask(page, script(endless=True, rate=5))
    expect(turn.locator(".markdown")).not_to_be_empty()
    job = stand.client.ledger.keys.job(session_of(page), "*")
    with redis.Redis.from_url(stand.settings.redis_url) as ledger:
        ledger.delete(*ledger.scan_iter(job))
        ledger.client_kill_filter(_type="pubsub")
    expect_end(turn, "failed")
    expect(turn.locator(".wrong")).to_contain_text("no longer knows job")


def test_a_session_of_a_program_is_shown_too(stand: Stand, page: Page, user: str) -> None:
    session_id = f"of-a-program-of-{user}"
    whose: dict[str, Any] = {"tenant": "acme", "user": user, "session_id": session_id}
    stand.client.submit(script(text="first", rate=0), wait=True, **whose)
    page.goto(f"/#{session_id}")
    expect_answer(page.locator(".turn").first, "first")
    stand.client.submit(script(text="second", rate=0), wait=True, **whose)
    expect_answer(page.locator(".turn").nth(1), "second")
    page.goto("/#nobodys")
    expect(page.get_by_role("alert")).to_contain_text("There is no session nobodys")


def test_a_gateway_with_keys_asks_for_one(stand: Stand, context: BrowserContext) -> None:
    bare = context.browser
    assert bare is not None
    stranger = bare.new_context(base_url=stand.url)
    page = stranger.new_page()
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This gateway asks for an API key")
    dialog.get_by_label("API key").fill(stand.make_key(tenant="acme", user="stranger"))
    dialog.get_by_role("button", name="Go on").click()
    expect_answer(ask(page, "let me in", "quick/echo"), "let me in")
    assert page.evaluate("localStorage.getItem('palaver.key')") is None, "kept for this tab alone"
    page.get_by_role("button", name="Forget the API key").click()
    expect(dialog).to_be_visible()
    stranger.close()
