"""The files of the chat page, without a browser."""

import re

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from palaver.producer.gateway import create_app
from palaver.producer.gateway.page import page
from palaver.shared.settings import Settings

app = FastAPI(docs_url=None)  # as the gateway does
app.include_router(page.router)
http = TestClient(app)


def test_the_page_and_all_that_it_names_are_served() -> None:
    shown = [http.get(path) for path in ("/", "/docs")]
    assert {page.headers["content-type"] for page in shown} == {"text/html; charset=utf-8"}
    named = {name for page in shown for name in re.findall(r'(?:href|src)="(/[^"]+)"', page.text)}
    for name, asset in page.load_assets().items():
        if asset.media_type.startswith("text/javascript"):
            folder = f"/page/{name}".rpartition("/")[0]
            named |= {
                f"{folder}/{module}" for module in re.findall(r'from "\./([^"]+)"', asset.content.decode())
            }
    assert len(named) > 10
    assert {path: http.get(path).status_code for path in named} == dict.fromkeys(named, 200)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_but_its_own_scripts_runs_in_it(path: str) -> None:
    shown = http.get(path)
    policy = shown.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    inline = re.compile(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", re.IGNORECASE)
    assert not inline.search(shown.text), "the policy would refuse it"
    assert "://" not in shown.text, "all of it is here"


def test_the_framework_serves_no_page_of_its_own() -> None:
    with TestClient(create_app(Settings(redis_url="redis://127.0.0.1:1/0"))) as gateway:
        assert gateway.get("/docs").content == page.load_assets()["docs.html"].content
        assert gateway.get("/redoc").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-retry-count",
        "anthropic-beta,anthropic-dangerous-direct-browser-access,anthropic-version,content-type,x-api-key",
        "authorization,traceparent,tracestate,x-palaver-session",
    ],
)
def test_pages_of_named_origins_may_use_any_client(headers: str) -> None:
    settings = Settings(redis_url="redis://127.0.0.1:1/0", gateway_origins="https://app.example")
    asked = {"access-control-request-method": "POST", "access-control-request-headers": headers}
    with TestClient(create_app(settings)) as gateway:
        known = gateway.options("/v1/messages", headers={**asked, "origin": "https://app.example"})
        other = gateway.options("/v1/messages", headers={**asked, "origin": "https://evil.example"})
    assert known.status_code == 200
    assert known.headers["access-control-allow-origin"] == "https://app.example"
    assert set(headers.split(",")) <= set(known.headers["access-control-allow-headers"].split(","))
    assert "access-control-allow-credentials" not in known.headers
    assert "access-control-allow-origin" not in other.headers


def test_what_a_browser_has_is_not_sent_again() -> None:
    first = http.get("/page/main.js")
    again = http.get("/page/main.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]


def test_a_name_that_is_no_file_of_it_is_unknown() -> None:
    for name in ("nothing.js", "../page.py", "..%2fpage.py", "vendor/../../page.py", "vendor", ""):
        assert http.get(f"/page/{name}").status_code == 404, name
