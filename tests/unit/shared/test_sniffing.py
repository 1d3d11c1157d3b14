"""A file's type is what its content says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.stores.sniffing import UNKNOWN, allowed, content_type
from tests.documents import zipped

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
OPEN = "application/vnd.oasis.opendocument.text"


def archive(*names: str) -> bytes:
    return zipped({name: OPEN if name == "mimetype" else "<x/>" for name in names})


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "x.txt", "application/pdf"),
        (b"junk before\n%PDF-1.4", "x", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n\0\0", "x.exe", "image/png"),
        (b"\xff\xd8\xff\xe0\0", "x", "image/jpeg"),
        (b"GIF89a\1\0", "x", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "x", "image/webp"),
        (b"RIFF\n\0\0\0WAVEfmt ", "x.webp", UNKNOWN),
        (b"II*\0\x08\0", "x", "image/tiff"),
        (b"BM\x36\0\0\0\0\0\0\0\x36", "x", "image/bmp"),
        (b"BMW is a word", "x", "text/plain"),
        (b"{\\rtf1", "x", "application/rtf"),
        (archive("[Content_Types].xml", "word/document.xml"), "a.DOCX", WORD),
        (archive("[Content_Types].xml"), "a.zip", UNKNOWN),
        (archive("evil.exe"), "a.docx", UNKNOWN),
        (archive("mimetype", "content.xml"), "a.zip", OPEN),
        (b"a,b\n1,2\n", "a.csv", "text/csv"),
        (b"# Title\n", "a.md", "text/markdown"),
        (b"{}", "a.json", "application/json"),
        ("Grüße".encode("utf-16"), "a.txt", "text/plain"),
        ("Grüße".encode("latin-1"), "a", "text/plain"),
        (b"\x7fELF\2\1\1\0", "a.txt", UNKNOWN),
        (b"MZ\x90\0\3", "a.pdf", UNKNOWN),
    ],
)
def test_the_content_decides(head: bytes, name: str, kind: str) -> None:
    assert content_type(head, name) == kind


@given(st.binary(max_size=4096), st.text(max_size=20))
def test_nothing_that_may_come_breaks_it(head: bytes, name: str) -> None:
    assert "/" in content_type(head, name)
    assert allowed(content_type(head, name), "*/*")


def test_types_are_allowed_by_patterns() -> None:
    assert allowed("image/png", "text/plain, IMAGE/*")
    assert not allowed("application/pdf", "text/*,image/*")
    assert not allowed("image/png", "")
