"""What a person does with the page, and what answers are made of."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.integration.gateway.conftest import Stand, script
from tests.page.test_page import WORDS, ask, crowd, expect_answer, expect_end, session_of
from tests.processes import ROOT
from tests.servers import missing

pytestmark = [pytest.mark.page, pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("page")]

AXE = ROOT / "producer/palaver/producer/gateway/page/node_modules/axe-core/axe.min.js"


def test_an_answer_is_stopped_and_its_words_stay(page: Page) -> None:
    turn = ask(page, WORDS)
    expect(turn.locator(".markdown")).to_contain_text("w10")
    page.get_by_role("button", name="Stop the answer").click()
    expect_end(turn, "cancelled")
    expect(turn).to_contain_text("Stopped.")
    said = turn.locator(".markdown").inner_text()
    assert WORDS.startswith(said)
    assert said != WORDS
    expect(page.get_by_role("button", name="Stop the answer")).to_be_hidden()
    page.reload()
    expect_end(turn, "cancelled")
    expect(turn.locator(".markdown")).to_have_text(said)


def test_what_failed_is_asked_again(page: Page) -> None:
    failing = script(text="well", rate=0, fail={"status": 401, "times": 1})
    turn = ask(page, failing, "quick/echo")
    expect_end(turn, "failed")
    expect(turn.locator(".wrong")).to_contain_text("401")
    turn.get_by_role("button", name="Ask again").click()
    again = page.locator(".turn").nth(1)
    expect_answer(again, "well")
    page.reload()
    expect(turn.locator(".wrong")).to_contain_text("401")
    expect_answer(again, "well")


def test_a_question_is_edited_and_asked_again(page: Page) -> None:
    expect_answer(ask(page, "one", "quick/echo"), "one")
    expect_answer(ask(page, "two", "quick/echo"), "two")
    old = session_of(page)
    page.get_by_label("Message").press("ArrowUp")
    expect(page.get_by_label("Message")).to_have_value("two")
    page.get_by_label("Message").fill("three")
    page.get_by_label("Message").press("Enter")
    page.wait_for_url(lambda url: old not in url)
    bubbles = page.locator(".bubble")
    expect(bubbles).to_have_text(["one", "three"])
    expect_answer(page.locator(".turn").nth(1), "three")
    page.reload()
    expect(bubbles).to_have_text(["one", "three"])
    expect(page.locator(".markdown")).to_have_text(["one", "three"])
    page.goto(f"/#{old}")
    expect(bubbles).to_have_text(["one", "two"])


def test_files_are_dropped_and_go_with_the_question(page: Page, stand: Stand) -> None:
    data = page.evaluate_handle(
        "() => { const data = new DataTransfer();"
        " data.items.add(new File(['tea: 4.50'], 'prices.txt', {type: 'text/plain'})); return data }"
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": data})
    expect(page.get_by_text("Drop the files here")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": data})
    attached = page.get_by_role("list", name="Attached files")
    expect(attached).to_contain_text("9 B")
    turn = ask(page, "What is in it?", "quick/echo")
    expect_end(turn)
    expect(attached.get_by_role("listitem")).to_have_count(0)
    expect(turn.get_by_role("list", name="Files")).to_have_text("prices.txt")
    page.reload()
    expect(turn.get_by_role("list", name="Files")).to_have_text("prices.txt")


def test_markdown_reasoning_tokens_and_cost_are_shown(page: Page) -> None:
    turn = ask(page, "Show me", "quick/markdown")
    expect_end(turn)
    expect(turn.get_by_role("heading", name="Leases")).to_be_visible()
    expect(turn.get_by_role("cell", name="the log")).to_be_visible()
    expect(turn.locator("figure.code figcaption")).to_contain_text("python")
    link = turn.get_by_role("link", name="link")
    assert (link.get_attribute("target"), link.get_attribute("rel")) == (
        "_blank",
        "noopener noreferrer nofollow",
    )
    reasoning = turn.locator("details", has_text="Reasoning")
    expect(reasoning.locator(".reasoning")).to_be_hidden()
    reasoning.locator("summary").click()
    expect(reasoning.locator(".reasoning")).to_contain_text("The user wants")
    expect(turn.locator(".facts")).to_contain_text(re.compile(r"quick/markdown · \d+\stokens · \$0\.\d+"))
    expect(page.locator("#sum")).to_contain_text("tokens · $0.")


def test_widgets_of_an_agent_stand_where_they_were_shown(page: Page) -> None:
    expect_end(ask(page, "Tea?", "agent:kettle/"))
    turn = ask(page, "More tea?")
    expect_end(turn)
    expect(turn.get_by_role("cell", name="4.5")).to_be_visible()
    expect(turn.locator("figure", has_text="Ulm")).to_contain_text("<b>clear</b>")
    kinds = turn.locator(".blocks > *").evaluate_all("blocks => blocks.map(block => block.className)")
    assert kinds == ["markdown", "widget", "widget", "markdown"]
    expect(page.get_by_label("Model")).to_be_disabled()
    page.reload()
    expect(turn.locator(".blocks > *")).to_have_count(4)
    assert kinds == turn.locator(".blocks > *").evaluate_all("blocks => blocks.map(block => block.className)")


def test_tool_calls_and_their_results_are_shown(page: Page, stand: Stand, user: str) -> None:
    session_id = f"with-tools-of-{user}"
    page.goto(f"/#{session_id}")
    trouble = page.get_by_role("alert").filter(has_text="There is no session")
    expect(trouble).to_be_visible()
    whose: dict[str, Any] = {"tenant": "acme", "user": user, "session_id": session_id}
    shop: dict[str, Any] = {"model": "quick/shop", "tools": [{"name": "price"}], **whose}
    stand.client.submit("tea?", wait=True, **shop)
    page.goto("/#")
    expect(trouble).to_be_hidden()  # two changes of the address in one turn of the page are none
    page.goto(f"/#{session_id}")
    turn = page.locator(".turn")
    expect_end(turn)
    stand.client.submit("more?", wait=True, **shop)
    call = page.locator(".turn").nth(1).locator("details", has_text="price")
    expect(call).to_contain_text("done")
    call.locator("summary").click()
    expect(call.get_by_label("Result")).to_have_text("4.5")
    page.reload()
    expect(call).to_contain_text("done")


def test_a_place_in_the_line_is_shown(page: Page) -> None:
    first = ask(page, WORDS, "slow/echo")
    expect(first.locator(".markdown")).to_contain_text("w1")
    second = ask(page, "next", "quick/echo")
    expect(second).to_contain_text("1 ahead in this chat")
    expect_answer(first)
    expect_answer(second, "next")


def test_a_place_among_all_that_wait_is_shown(page: Page, stand: Stand) -> None:
    with crowd(stand, 3):
        turn = ask(page, "and I", "narrow/echo")
        expect(turn.locator(".state")).to_have_text(re.compile(r"^Waiting: 3 ahead"))
    expect_answer(turn, "and I")


def test_words_that_come_do_not_carry_off_who_reads_further_up(page: Page) -> None:
    expect_end(ask(page, "\n\n".join(WORDS.split()), "quick/echo"))
    turn = ask(page, "\n\n".join(WORDS.split()))
    expect(turn.locator(".markdown")).to_contain_text("w5")
    down = page.get_by_role("button", name="To the end of the chat")
    expect(down).to_be_hidden()
    page.locator("#scroll").evaluate("scroll => scroll.scrollTop = 100")
    expect(down).to_be_visible()
    expect_end(turn)
    assert page.locator("#scroll").evaluate("scroll => scroll.scrollTop") == 100
    down.click()
    expect(down).to_be_hidden()
    expect(turn.locator(".markdown").get_by_text("w119")).to_be_in_viewport()


def test_what_was_not_sent_yet_is_kept_for_each_chat(page: Page) -> None:
    expect_end(ask(page, "one", "quick/echo"))
    words = page.get_by_label("Message")
    words.fill("half a question")
    page.get_by_role("button", name="New chat").click()
    expect(words).to_have_value("")
    words.fill("another one")
    page.get_by_role("link", name="one", exact=True).click()
    expect(words).to_have_value("half a question")
    page.reload()
    expect(words).to_have_value("half a question")
    words.press("Enter")
    expect_end(page.locator(".turn").nth(1))
    page.reload()
    expect(words).to_have_value("")
    page.goto("/#")
    expect(words).to_have_value("another one")


def test_chats_of_long_ago_can_be_reached(page: Page) -> None:
    page.evaluate(
        """async () => {
            const key = localStorage.getItem("palaver.key");
            const headers = {"Content-Type": "application/json", Authorization: `Bearer ${key}`};
            for (let number = 0; number <= 100; number++) {
                const body = JSON.stringify({context: {title: `chat ${number}`}});
                await fetch("/sessions", {method: "POST", headers, body});
            }
        }"""
    )
    page.reload()
    expect(page.get_by_role("link", name="chat 100")).to_be_visible()
    expect(page.get_by_role("link", name="chat 0", exact=True)).to_have_count(0)
    page.get_by_role("button", name="Older chats").click()
    expect(page.get_by_role("link", name="chat 0", exact=True)).to_be_attached()
    expect(page.get_by_role("button", name="Older chats")).to_be_hidden()


def test_a_question_waits_for_its_files(page: Page) -> None:
    held: list[Route] = []
    page.route("**/v1/files", lambda route: held.append(route))
    page.get_by_label("Message").fill("What is in it?")
    page.locator("#picker").set_input_files(
        {"name": "prices.txt", "mimeType": "text/plain", "buffer": b"tea: 4.50"}
    )
    page.get_by_label("Model").select_option("quick/echo")
    page.get_by_label("Message").press("Enter")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    assert len(held) == 1
    held[0].continue_()
    turn = page.locator(".turn")
    expect(turn.get_by_role("list", name="Files")).to_have_text("prices.txt")
    page.unroute("**/v1/files")
    page.route("**/v1/files", lambda route: route.fulfill(status=413, body="{}"))
    page.locator("#picker").set_input_files({"name": "large.txt", "mimeType": "text/plain", "buffer": b"x"})
    expect(page.locator("#attached .wrong")).to_be_visible()
    page.get_by_label("Message").fill("And in this?")
    page.get_by_label("Message").press("Enter")
    expect(page.get_by_role("alert")).to_have_text("A file was not attached: remove it, or attach it again.")
    page.get_by_role("button", name="Remove large.txt").click()
    page.get_by_label("Message").press("Enter")
    expect_end(page.locator(".turn").nth(1))


def test_a_question_is_not_asked_without_a_file_of_which_nothing_is_known(page: Page) -> None:
    """The gateway's answer to an upload may be cut; one that its user has removed is not waited for."""
    held: list[Route] = []
    text: Any = {"name": "prices.txt", "mimeType": "text/plain", "buffer": b"tea: 4.50"}
    page.route("**/v1/files", lambda route: route.fulfill(status=200, body='{"id": "'))
    page.locator("#picker").set_input_files(text)
    expect(page.locator("#attached .wrong")).to_contain_text("The gateway cannot be reached.")
    page.get_by_label("Model").select_option("quick/echo")
    page.get_by_label("Message").fill("Without it")
    page.get_by_label("Message").press("Enter")
    expect(page.get_by_role("alert")).to_have_text("A file was not attached: remove it, or attach it again.")
    page.get_by_role("button", name="Remove prices.txt").click()
    page.unroute("**/v1/files")
    page.route("**/v1/files", lambda route: held.append(route))
    page.locator("#picker").set_input_files(text)
    expect(page.locator("#attached")).to_contain_text("uploading")
    page.get_by_label("Message").press("Enter")
    page.get_by_role("button", name="Remove prices.txt").click()
    expect_end(page.locator(".turn"))


def test_a_link_whose_address_is_told_later_is_one(page: Page) -> None:
    told = f"See [the spec][1].\n\n{WORDS}\n\n[1]: https://example.org/spec\n"
    turn = ask(page, script(text=told, rate=10))
    expect(turn.locator(".markdown")).to_contain_text("See [the spec][1].")
    expect_end(turn)
    expect(turn.get_by_role("link", name="the spec")).to_have_attribute("href", "https://example.org/spec")


def test_what_a_hostile_model_writes_does_nothing(page: Page, complaints: list[str]) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    turn = ask(page, "<img src=x onerror='window.broken = 0'>", "quick/hostile")
    expect_end(turn)
    expect(turn.locator(".markdown")).to_contain_text("cover")
    assert page.evaluate("window.broken") is None
    assert not [url for url in requests if "evil" in url]
    harmful = turn.locator(
        "script, iframe, svg:not(.icon), form, style, img, math, [onerror], [onclick], [style], [id]"
    )
    expect(harmful).to_have_count(0)
    expect(turn.locator(".markdown")).to_contain_text("I agree to pay.")
    expect(turn.locator(".markdown :is(.bubble, .skip)")).to_have_count(0)
    links = turn.locator(".markdown a").evaluate_all("links => links.map(link => [link.protocol, link.rel])")
    assert links == [["https:", "noopener noreferrer nofollow"]] * len(links)
    expect(turn.get_by_role("link", name="Image: secret")).to_be_visible()
    assert not [told for told in complaints if "TypeError" in told]
    blocked = page.evaluate(
        "try { document.body.innerHTML = '<b>x</b>'; 'taken' } catch (error) { error.name }"
    )
    assert blocked == "TypeError", "no text becomes HTML, whoever writes it"


def test_an_answer_that_nests_deeper_than_can_be_followed_is_shown_as_it_is(page: Page) -> None:
    deep = ">" * 20_000
    answers = [(script(text=deep, rate=0), deep), ("and then", "and then")]
    for question, answer in answers:
        expect_answer(ask(page, question, "quick/echo"), answer)
    page.reload()
    for place, (_, answer) in enumerate(answers):
        expect_answer(page.locator(".turn").nth(place), answer)


def test_all_of_it_is_done_without_a_mouse(page: Page) -> None:
    page.keyboard.press("Tab")
    page.get_by_label("Message").fill("")
    page.get_by_label("Message").press_sequentially("two")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("lines")
    page.get_by_label("Model").select_option("slow/endless")
    page.get_by_label("Message").focus()
    page.keyboard.press("Enter")
    turn = page.locator(".turn")
    expect(turn.locator(".bubble")).to_have_text("two\nlines")
    expect(turn.locator(".markdown")).to_contain_text("w3")
    page.keyboard.press("Escape")
    expect_end(turn, "cancelled")
    page.keyboard.press("Alt+n")
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.get_by_label("Message")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(page: Page, context: BrowserContext, scheme: str, width: int) -> None:
    if not AXE.exists():
        missing("no axe-core (make page installs it)")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    expect_end(ask(page, "Show me", "quick/markdown"))
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


def test_a_chat_is_deleted(page: Page) -> None:
    expect_end(ask(page, "away with it", "quick/echo"))
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete away with it").click()
    expect(page.get_by_role("link", name="away with it")).to_have_count(0)
    expect(page.locator(".turn")).to_have_count(0)


def test_a_question_that_is_sent_once_more_is_asked_once(page: Page) -> None:
    """Nobody knows whether it was taken where the gateway, or its ledger, was lost meanwhile."""

    def taken_and_not_told(route: Route) -> None:
        route.fetch()
        route.fulfill(status=503, body=json.dumps({"error": {"message": "Not now.", "code": "busy"}}))

    page.route("**/messages", taken_and_not_told)
    page.get_by_label("Model").select_option("quick/echo")
    page.get_by_label("Message").fill("Once")
    page.get_by_label("Message").press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Not now.")
    page.unroute("**/messages")
    page.get_by_label("Message").press("Enter")
    expect_end(page.locator(".turn"))
    expect(page.get_by_role("link", name="Once")).to_have_count(1)
    page.reload()
    expect_end(page.locator(".turn"))


def test_what_the_gateway_refuses_is_told(page: Page) -> None:
    expect_end(ask(page, "keep me", "quick/echo"))
    page.on("dialog", lambda dialog: dialog.accept())
    refusal = json.dumps({"error": {"message": "Not today.", "code": "busy"}})
    page.route("**/sessions/*", lambda route: route.fulfill(status=503, body=refusal))
    page.get_by_role("button", name="Delete keep me").click()
    expect(page.get_by_role("alert")).to_have_text("Not today.")
    expect(page.get_by_role("link", name="keep me")).to_be_visible()
    page.goto("/#%")
    expect(page.locator(".turn")).to_have_count(0)
