"""Small documents, made here: PDF with a text layer, its scan, DOCX, ZIP, PNG."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from struct import unpack

_TYPES = "application/vnd.openxmlformats-package.relationships+xml"
_MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
_OFFICE = "http://schemas.openxmlformats.org"


def text_pdf(lines: Sequence[str], size: int = 24) -> bytes:
    """A page with these lines as text."""
    shown = b"".join(b"(%b) Tj T* " % line.encode() for line in lines)
    words = b"BT /F1 %d Tf %d TL 40 700 Td %bET" % (size, size + 6, shown)
    return _pdf(
        b"/Resources << /Font << /F1 5 0 R >> >>",
        words,
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )


def scanned_pdf(png: bytes) -> bytes:
    """A page that is nothing but this image, of three colours and without an alpha channel."""
    width, height, data = _pixels(png)
    image = _stream(
        data,
        b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceRGB /BitsPerComponent 8 "
        b"/Filter /FlateDecode /DecodeParms << /Predictor 15 /Colors 3 /Columns %d >>"
        % (width, height, width),
    )
    return _pdf(b"/Resources << /XObject << /I1 5 0 R >> >>", b"612 0 0 792 0 0 cm /I1 Do", image)


def docx(text: str) -> bytes:
    """A document of one paragraph."""
    return zipped(
        {
            "[Content_Types].xml": f'<Types xmlns="{_OFFICE}/package/2006/content-types">'
            f'<Default Extension="rels" ContentType="{_TYPES}"/>'
            f'<Override PartName="/word/document.xml" ContentType="{_MAIN}"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{_OFFICE}/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{_OFFICE}/officeDocument/2006/relationships/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
            "word/document.xml": f'<w:document xmlns:w="{_OFFICE}/wordprocessingml/2006/main"><w:body><w:p>'
            f"<w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>",
        }
    )


def zipped(members: Mapping[str, str]) -> bytes:
    """An archive of files by name, without a time: in a test's id it is to be the same in all processes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return made.getvalue()


def _pdf(resources: bytes, content: bytes, fifth: bytes) -> bytes:
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R %b >>" % resources,
        _stream(content),
        fifth,
    ]
    made, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(b"%010d 00000 n \n" % len(made))
        made += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(places)
    return made + table + b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(made)


def _stream(data: bytes, about: bytes = b"") -> bytes:
    return b"<< %b /Length %d >>\nstream\n%b\nendstream" % (about, len(data), data)


def _pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height and the compressed rows, which PDF reads as they are."""
    place, width, height, data = 8, 0, 0, b""
    while place < len(png):
        (length,) = unpack(">I", png[place : place + 4])
        kind, body = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        if kind == b"IHDR":
            width, height = unpack(">II", body[:8])
        if kind == b"IDAT":
            data += body
        place += 12 + length
    return width, height, data
