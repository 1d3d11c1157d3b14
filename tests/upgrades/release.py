"""The release before this one, as a folder that processes can be started from.

It is PALAVER_TEST_RELEASE (any git ref), else the newest tag `v…`, else, until there is one, the commit in
`baseline`: before a release nothing is promised, and that commit may be replaced when stored data changes on
purpose. The release runs with the dependencies of this checkout.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT
from tests.servers import missing

ROOMS = ("shared", "producer", "workers")
BASELINE = Path(__file__).with_name("baseline")


@dataclass(frozen=True)
class Release:
    """A version of the sources, by a git ref."""

    ref: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that is to run it: it is found before this checkout."""
        return {"PYTHONPATH": os.pathsep.join(str(self.folder / room) for room in ROOMS)}


def previous(folder: Path) -> Release:
    """The release before this one, unpacked below `folder`. Skips the test where git does not have it."""
    ref = os.environ.get("PALAVER_TEST_RELEASE") or _newest_tag() or BASELINE.read_text().strip()
    packed = _git("archive", "--format=tar", ref, *ROOMS)
    if packed is None:
        missing(f"this checkout does not have the release {ref}: git fetch --unshallow --tags")
    subprocess.run(("tar", "-x", "-C", folder), input=packed, check=True, timeout=60)
    return Release(ref, folder)


def _newest_tag() -> str:
    found = _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^")
    return (found or b"").decode().strip()


def _git(*words: str) -> bytes | None:
    done = subprocess.run(("git", *words), cwd=ROOT, capture_output=True, timeout=60, check=False)
    return None if done.returncode else done.stdout
