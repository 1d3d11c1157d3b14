"""Which of the pinned packages have weaknesses that are known: pip-audit, over the locks.

    python requirements/audit.py             all locks (needs pip-audit and the Python Package Index)
    python requirements/audit.py base.txt    these

Nothing is resolved or installed: each pin is asked for. Exit code 0: no weakness is known; 1: there is one,
or a reason to live with one is over; 3: nobody answers, or not for all packages, as a mirror may do.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
AUDIT = (sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off")
SECONDS = 600
FOUND, UNASKED = 1, 3


@dataclass(frozen=True)
class Accepted:
    """Why a weakness does not concern Palaver, and until when that is believed."""

    reason: str
    until: date


ACCEPTED: Mapping[str, Accepted] = {}
"""By the id of the advisory."""


def asked(locks: Sequence[Path]) -> dict[str, Any] | None:
    """What pip-audit says of the locks; None if it could not ask."""
    files = [word for lock in locks for word in ("--requirement", str(lock))]
    done = subprocess.run(
        [*AUDIT, "--format", "json", *files],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        print(done.stderr.strip()[-2000:], file=sys.stderr)
        return None
    return said


def weaknesses(said: Mapping[str, Any], today: date) -> Iterator[str]:
    """Each that is not accepted, in a line."""
    for package in said["dependencies"]:
        for known in package.get("vulns", ()):
            accepted = ACCEPTED.get(known["id"])
            if accepted is not None and today <= accepted.until:
                continue
            names = ", ".join([known["id"], *known.get("aliases", ())])
            mended = ", ".join(known.get("fix_versions", ())) or "no version"
            over = f"; accepted until {accepted.until}: {accepted.reason}" if accepted else ""
            yield f"{package['name']} {package['version']}: {names}, mended in {mended}{over}"


def unasked(said: Mapping[str, Any]) -> list[str]:
    """Packages of which the index says nothing."""
    return [package["name"] for package in said["dependencies"] if "skip_reason" in package]


def main(arguments: list[str]) -> int:
    """Ask, tell; the exit code."""
    locks = [FOLDER / name for name in arguments] or sorted(FOLDER.glob("*.txt"))
    said = asked(locks)
    if said is None:
        print("NOT CHECKED: pip-audit got no answer (is there a network?); nothing is known of the locks")
        return UNASKED
    found, left = list(weaknesses(said, datetime.now(UTC).date())), unasked(said)
    checked = len(said["dependencies"]) - len(left)
    print("\n".join([*found, f"{checked} packages were checked, {len(found)} weaknesses are known"]))
    if left:
        print(f"NOT CHECKED: the index says nothing of {len(left)} packages: {', '.join(left)}")
    return FOUND if found else UNASKED if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
