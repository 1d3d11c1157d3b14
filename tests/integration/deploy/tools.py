"""Tools that check files, and what this folder's tests share."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT, clean_environment
from tests.servers import missing

DEPLOY = ROOT / "deploy"


def check(name: str, *words: str | Path, package: str = "", cwd: Path = ROOT) -> str:
    """Run a tool of this environment, or of the machine (Debian's `package`); what it printed.

    Skips the test if there is none, and fails it if the tool finds fault.
    """
    tool = shutil.which(name, path=f"{Path(sys.executable).parent}:{clean_environment()['PATH']}")
    if tool is None:
        missing(f"{name} is not installed (Debian: {package})" if package else f"{name} is not installed")
    done = subprocess.run(
        (tool, *words),
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
