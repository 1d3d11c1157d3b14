"""How the page looks: pictures into .palaver/screens, for a person to look at; nothing sticks out of it."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from palaver.shared.provider_errors import AuthenticationError
from tests.integration.gateway.conftest import Stand, script
from tests.page.test_page import ask, crowd, expect_end
from tests.processes import ROOT

pytestmark = [pytest.mark.page, pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("page")]

SCREENS = ROOT / ".palaver" / "screens"
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


def named(look: tuple[int, str]) -> str:
    """A look as the tests' names have it."""
    return f"{look[0]}-{look[1]}"


@pytest.fixture(params=LOOKS, ids=named)
def look(page: Page, request: pytest.FixtureRequest) -> str:
    """The page at one width and in one scheme, named."""
    width, scheme = request.param
    page.set_viewport_size({"width": width, "height": 860})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    return f"{width}-{scheme}"


@pytest.fixture
def history(stand: Stand, user: str) -> str:
    """A session with a bit of everything."""
    session_id = f"looks-{user}"
    where: dict[str, Any] = {"session_id": session_id, "tenant": "acme", "user": user}
    tools = [{"name": "price"}]
    asked = "What does a lease look like? I would like to see the code, and a table of what the keys hold."
    stand.client.submit(asked, model="quick/markdown", **where).result(timeout=30)
    stand.client.submit("And the tea?", model="quick/shop", tools=tools, **where).result(timeout=30)
    failing = script(text="", rate=0, fail={"status": 401})
    with pytest.raises(AuthenticationError):
        stand.client.submit(failing, model="quick/echo", **where).result(timeout=30)
    return session_id


def picture(page: Page, name: str, look: str) -> Path:
    """Take it, of a page out of which nothing sticks."""
    wide = page.evaluate(
        "[document.documentElement, document.getElementById('scroll')]"
        ".map(box => box.scrollWidth - box.clientWidth)"
    )
    assert wide == [0, 0], f"{name}, {look}: something is wider than the screen"
    SCREENS.mkdir(parents=True, exist_ok=True)
    path = SCREENS / f"{name}-{look}.png"
    page.screenshot(path=path, animations="disabled")
    return path


def test_a_new_chat(page: Page, look: str) -> None:
    expect(page.get_by_label("Message")).to_be_visible()
    picture(page, "new", look)


def test_answers_with_code_tables_tools_and_failures(page: Page, look: str, history: str) -> None:
    page.goto(f"/#{history}")
    expect(page.locator(".turn")).to_have_count(3)
    rows = page.locator(".facts").evaluate_all(
        "facts => facts.map(one => new Set([...one.children].slice(1).map(button => button.offsetTop)).size)"
    )
    assert rows == [1] * 3, "what may be done with an answer stands in a row"
    picture(page, "end", look)
    page.locator("details").first.locator("summary").click()
    page.locator("details", has_text="price").locator("summary").click()
    page.locator("#scroll").evaluate("scroll => scroll.scrollTop = 0")
    expect(page.get_by_role("button", name="To the end of the chat")).to_be_visible()
    picture(page, "begin", look)
    page.locator("details", has_text="price").scroll_into_view_if_needed()
    picture(page, "tool", look)


def test_widgets(page: Page, look: str) -> None:
    turn = ask(page, "Tea?", "agent:kettle/")
    expect_end(turn)
    shown = turn.locator(".blocks > .markdown, .blocks .card")
    expect(shown).to_have_count(4)  # what was over when the page came to it is put into its places then
    boxes = shown.evaluate_all("blocks => blocks.map(block => block.getBoundingClientRect().toJSON())")
    gaps = [below["top"] - above["bottom"] for above, below in pairwise(boxes)]
    assert min(gaps) >= 8, "what stands below touches nothing"
    picture(page, "widgets", look)


@pytest.mark.parametrize("wrong", [False, True], ids=["", "refused"])
def test_files_of_long_names(page: Page, look: str, wrong: bool) -> None:
    told = json.dumps({"error": {"message": "The body of the request is larger than 26279936 bytes."}})
    if wrong:
        page.route("**/v1/files", lambda route: route.fulfill(status=413, body=told))
    name = "what-was-said-of-tea-in-the-third-quarter-" * 3 + ".txt"
    page.locator("#picker").set_input_files({"name": name, "mimeType": "text/plain", "buffer": b"tea"})
    expect(page.locator("#attached .size")).to_have_text("3 B" if not wrong else re.compile("larger than"))
    places = page.locator("#composer, #attached button").evaluate_all(
        "them => them.map(one => one.getBoundingClientRect().toJSON())"
    )
    assert places[1]["right"] < places[0]["right"], "it can be removed"
    picture(page, "file-refused" if wrong else "file", look)


def test_a_question_that_waits(page: Page, look: str, stand: Stand) -> None:
    with crowd(stand, 3):
        turn = ask(page, "Shall I be answered?", "narrow/echo")
        expect(turn.locator(".state")).to_contain_text("3 ahead")
        picture(page, "waiting", look)


def test_an_answer_that_is_being_written(page: Page, look: str) -> None:
    turn = ask(page, " ".join(f"word {number}" for number in range(200)))
    expect(turn.locator(".markdown")).to_contain_text("word 30")
    page.get_by_label("Message").fill("What I shall ask next")
    picture(page, "writing", look)


@pytest.mark.parametrize("look", LOOKS[2:], indirect=True, ids=named)
def test_the_list_of_chats_lies_over_a_narrow_screen(page: Page, look: str) -> None:
    page.get_by_role("button", name="Chats").click()
    expect(page.get_by_role("navigation", name="Chats")).to_be_visible()
    picture(page, "chats", look)
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation", name="Chats")).to_be_hidden()
