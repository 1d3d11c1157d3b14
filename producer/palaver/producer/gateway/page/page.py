"""`/`, `/docs` and their files, from the package: nothing is built to run them, all of it is here."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

_INDEX: Final = "index.html"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_OWN_ALONE: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
)
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        *_OWN_ALONE,
        "require-trusted-types-for 'script'",  # no text becomes HTML but through the sanitizer
        "trusted-types dompurify",
    )
)
DOCS_POLICY: Final = "; ".join(_OWN_ALONE)
"""Swagger UI makes HTML by itself, of what our own code has written."""
_HEADERS: Final = {
    "cache-control": "no-cache",  # asked again each time, by its etag: a new release is there at once
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
}


class Asset(NamedTuple):
    """A file as it is sent."""

    content: bytes
    media_type: str
    etag: str


@cache
def load_assets() -> dict[str, Asset]:
    """All files of the page, by their path below `/page/`: a name that is not among them does not exist."""
    assets = {}
    static = files(__package__) / "static"
    for folder in ("", "vendor/"):
        for found in (static / folder).iterdir():
            media_type = _TYPES.get(PurePosixPath(found.name).suffix)
            if media_type is not None:
                content = found.read_bytes()
                etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
                assets[folder + found.name] = Asset(content, media_type, etag)
    return assets


@router.get("/")
async def show_page(request: Request) -> Response:
    """The page."""
    return _answer(request, load_assets()[_INDEX])


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    """All routes, to read and to try."""
    response = _answer(request, load_assets()["docs.html"])
    response.headers["content-security-policy"] = DOCS_POLICY
    return response


@router.get("/page/{name:path}")
async def show_asset(request: Request, name: str) -> Response:
    """What belongs to it."""
    asset = load_assets().get(name)
    if asset is None:
        raise HTTPException(404)
    return _answer(request, asset)


def _answer(request: Request, asset: Asset) -> Response:
    headers = {**_HEADERS, "etag": asset.etag}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
