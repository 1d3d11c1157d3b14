"""The pure parts of the page, in Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers import missing

pytestmark = pytest.mark.page


def test_what_needs_no_browser() -> None:
    if shutil.which("node") is None:
        missing("no Node on this machine")
    tests = sorted(Path(__file__).parent.glob("*.test.mjs"))
    done = subprocess.run(("node", "--test", *tests), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
