"""The content type of a file, found by looking at its beginning; pure.

What a caller says of the type counts for nothing. The name decides only among types whose content cannot be
told apart by its beginning: of plain texts, and of office documents, which are all ZIP archives.
"""

import codecs
import re
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Final

SNIFFED: Final = 64 * 1024
"""Bytes of a file's beginning that are looked at."""
UNKNOWN: Final = "application/octet-stream"

_OFFICE: Final = "application/vnd.openxmlformats-officedocument."
_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff"),
    (re.compile(rb"BM.{4}\0{4}", re.DOTALL), "image/bmp"),
    (re.compile(rb"[\s\S]{0,1019}%PDF-"), "application/pdf"),  # readers of PDF look as far
    (re.compile(rb"\{\\rtf"), "application/rtf"),
)
# An OpenDocument begins with its type, stored as it is.
_OPEN_DOCUMENT: Final = re.compile(
    rb"PK\x03\x04.{26}mimetype(application/vnd\.oasis\.opendocument\.[a-z]+)", re.DOTALL
)
_OFFICE_DOCUMENT: Final = re.compile(
    rb"PK\x03\x04.{26}(\[Content_Types\]|_rels|docProps|word|xl|ppt)", re.DOTALL
)
_OFFICE_TYPES: Final = {
    ".docx": f"{_OFFICE}wordprocessingml.document",
    ".xlsx": f"{_OFFICE}spreadsheetml.sheet",
    ".pptx": f"{_OFFICE}presentationml.presentation",
}
_TEXT_TYPES: Final = {
    ".csv": "text/csv",
    ".eml": "message/rfc822",
    ".htm": "text/html",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".tsv": "text/tab-separated-values",
    ".xml": "text/xml",
}
_SUFFIXES: Final = {
    "application/pdf": ".pdf",
    "application/rtf": ".rtf",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.oasis.opendocument.text": ".odt",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "text/plain": ".txt",
    **{kind: suffix for suffix, kind in (*_OFFICE_TYPES.items(), *_TEXT_TYPES.items())},
}
_BYTE_ORDER_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def content_type(head: bytes, filename: str) -> str:
    """The type of a file with this beginning; `application/octet-stream` if it is none that is known."""
    suffix = PurePath(filename).suffix.lower()
    for pattern, found in _MAGIC:
        if pattern.match(head):
            return found
    if match := _OPEN_DOCUMENT.match(head):
        return match[1].decode()
    if head.startswith(b"PK\x03\x04"):
        return _OFFICE_TYPES.get(suffix, UNKNOWN) if _OFFICE_DOCUMENT.match(head) else UNKNOWN
    if head.startswith(_BYTE_ORDER_MARKS) or not _NO_TEXT.search(head):
        return _TEXT_TYPES.get(suffix, "text/plain")
    return UNKNOWN


def suffix_of(kind: str) -> str:
    """The suffix by which programs know a file of this type; empty for an unknown one."""
    return _SUFFIXES.get(kind, "")


def allowed(kind: str, patterns: str) -> bool:
    """Whether a type is among these, such as `image/*, application/pdf`."""
    return any(fnmatchcase(kind, pattern.strip().lower()) for pattern in patterns.split(","))
