"""The release before this one, as a folder that processes can be started from.

It is PALAVER_TEST_RELEASE (any git ref), else the newest tag `v1.2.3` that this commit is not part of, else,
in a copy without tags, the commit in `baseline`, that of the last release. A shallow clone is given the tags
of where it comes from, if that answers. The release runs with the dependencies of this checkout.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT
from tests.servers import missing

ROOMS = ("shared", "producer", "workers")
BASELINE = Path(__file__).with_name("baseline")
RELEASED = re.compile(r"v\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Release:
    """A version of the sources, by a git ref."""

    ref: str
    why: str  # this one
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that is to run it: it is found before this checkout."""
        return {"PYTHONPATH": os.pathsep.join(str(self.folder / room) for room in ROOMS)}


def previous(folder: Path) -> Release:
    """The release before this one, unpacked below `folder`. Skips the test where git does not have it."""
    ref, why = chosen()
    packed = _git(ROOT, "archive", "--format=tar", ref, *ROOMS)
    if packed is None:
        missing(f"this checkout does not have {ref} ({why}): git fetch --unshallow --tags")
    subprocess.run(("tar", "-x", "-C", folder), input=packed, check=True, timeout=60)
    return Release(ref, why, folder)


def chosen(repository: Path = ROOT) -> tuple[str, str]:
    """A git ref, and why it is this one."""
    if given := os.environ.get("PALAVER_TEST_RELEASE"):
        return given, "PALAVER_TEST_RELEASE"
    if tag := _newest_tag(repository):
        return tag, "the newest tag of a release before this commit"
    return BASELINE.read_text().strip(), "the commit in tests/upgrades/baseline: there is no tag of a release"


def _newest_tag(repository: Path) -> str:
    if _git(repository, "rev-parse", "--is-shallow-repository") == b"true\n":
        _git(repository, "fetch", "--quiet", "--depth=1", "origin", "refs/tags/v*:refs/tags/v*")
    # This commit may be the release itself.
    listed = (
        _git(repository, "tag", "--list", "v*", "--sort=-version:refname", "--no-contains", "HEAD") or b""
    )
    return next((tag for tag in listed.decode().split() if RELEASED.fullmatch(tag)), "")


def _git(repository: Path, *words: str) -> bytes | None:
    done = subprocess.run(("git", *words), cwd=repository, capture_output=True, timeout=60, check=False)
    return None if done.returncode else done.stdout
