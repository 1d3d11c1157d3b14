"""The files of the chat page, without a browser."""

import re

from fastapi import FastAPI
from starlette.testclient import TestClient

from palaver.producer.gateway.page import page

app = FastAPI()
app.include_router(page.router)
http = TestClient(app)


def test_the_page_and_all_that_it_names_are_served() -> None:
    shown = http.get("/")
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    named = set(re.findall(r'(?:href|src)="(/[^"]+)"', shown.text))
    for name, asset in page.load_assets().items():
        if asset.media_type.startswith("text/javascript"):
            folder = f"/page/{name}".rpartition("/")[0]
            named |= {
                f"{folder}/{module}" for module in re.findall(r'from "\./([^"]+)"', asset.content.decode())
            }
    assert len(named) > 10
    assert {path: http.get(path).status_code for path in named} == dict.fromkeys(named, 200)


def test_nothing_but_its_own_scripts_runs_in_it() -> None:
    policy = http.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    inline = re.compile(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", re.IGNORECASE)
    assert not inline.search(http.get("/").text), "the policy would refuse it"


def test_what_a_browser_has_is_not_sent_again() -> None:
    first = http.get("/page/main.js")
    again = http.get("/page/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


def test_a_name_that_is_no_file_of_it_is_unknown() -> None:
    for name in ("nothing.js", "../page.py", "..%2fpage.py", "vendor/../../page.py", "vendor", ""):
        assert http.get(f"/page/{name}").status_code == 404, name
