"""The programs that the pages show."""

import re
from pathlib import Path


def program(page: Path, word: str) -> str:
    """The one program of a page that has this word in it."""
    programs = re.findall(r"^```py\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [each for each in programs if word in each]
    return str(found)
