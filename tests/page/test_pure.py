"""The pure parts of the page, in Node."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.servers import missing

pytestmark = pytest.mark.page


def test_turns_and_server_sent_events() -> None:
    if shutil.which("node") is None:
        missing("no Node on this machine")
    tests = Path(__file__).with_name("transcript.test.mjs")
    done = subprocess.run(("node", "--test", tests), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
