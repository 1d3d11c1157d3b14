"""Locks the dependencies of pyproject.toml into requirements/*.txt: pinned, hashed, for every platform.

    python requirements/lock.py            resolve anew (needs uv and a package registry)
    python requirements/lock.py peers      only this one
    python requirements/lock.py --check    are the locks of this pyproject.toml? (needs neither)

Each lock carries a fingerprint of what pyproject.toml asks for, or peers.in; --check compares it.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PYPROJECT = FOLDER.parent / "pyproject.toml"
PEERS = FOLDER / "peers.in"
ADDRESS = re.compile(r"https?://|file:|--(extra-)?index-url|--find-links|--trusted-host")
LEFT_OUT = ("extraction", "django", "testing", "dev", "all")
"""Extras that the container image is without: what is large, of other programs, or for developers. It has all
others: whatever a setting may ask for.
"""
PINNED = re.compile(r"^[a-z0-9][a-z0-9._-]*==\S+")


def locks(project: dict[str, Any]) -> dict[str, list[str]]:
    """The options of `uv pip compile` by lock name; `test` first, since the others must agree with it."""
    extras = project["project"]["optional-dependencies"]
    return {
        "test": ["--extra", "all", "--group", "test"],
        "base": [],
        "service": [word for extra in extras if extra not in LEFT_OUT for word in ("--extra", extra)],
        **{extra: ["--extra", extra] for extra in extras},
        **{group: ["--group", group] for group in project["dependency-groups"] if group != "test"},
        "peers": ["--python-version", project["project"]["requires-python"].removeprefix(">=")],
    }


def fingerprint(project: dict[str, Any]) -> str:
    """Changes when, and only when, a declared dependency does."""
    about = project["project"]
    declared = {
        "python": about["requires-python"],
        "base": sorted(about["dependencies"]),
        "extras": {name: sorted(lines) for name, lines in about["optional-dependencies"].items()},
        "groups": {name: sorted(lines) for name, lines in project["dependency-groups"].items()},
        "build": sorted(project["build-system"]["requires"]),
    }
    return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()[:32]


def header(name: str, project: dict[str, Any]) -> str:
    """The first line of a lock."""
    source = f"pyproject.toml {fingerprint(project)}"
    if name == "peers":
        source = f"peers.in {hashlib.sha256(PEERS.read_bytes()).hexdigest()[:32]}"
    return f"# Made by `make lock`; do not edit. {source}\n"


def resolve(name: str, options: list[str], project: dict[str, Any]) -> None:
    """Write one lock. What builds the project is in each that it is installed with: an editable install needs
    no network then.
    """
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("make lock needs uv on PATH; nothing else here does")
    path = FOLDER / f"{name}.txt"
    agree = [] if name in ("test", "peers") else ["--constraint", str(FOLDER / "test.txt")]
    sources = [str(PEERS)] if name == "peers" else [str(PYPROJECT), "-"]
    command = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--generate-hashes",
        "--no-header",
        "--upgrade",
    ]
    done = subprocess.run(
        [*command, "--no-annotate", *options, *agree, *sources],
        input="\n".join(project["build-system"]["requires"]),
        text=True,
        cwd=PYPROJECT.parent,
        stdout=subprocess.PIPE,
        check=True,
    )
    path.write_text(header(name, project) + done.stdout)
    print(f"{path.name}: {sum(bool(PINNED.match(line)) for line in done.stdout.splitlines())} packages")


def faults(name: str, project: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one lock, in words."""
    path = FOLDER / f"{name}.txt"
    if not path.exists():
        yield f"{path.name} is missing"
        return
    text = path.read_text()
    if not text.startswith(header(name, project)):
        yield f"{path.name} is not of what is asked for now"
    if found := ADDRESS.search(text):
        yield f"{path.name} names an address: {found[0]}"
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        if not PINNED.match(entry) or "--hash=sha256:" not in entry:
            yield f"{path.name}: {entry.splitlines()[0]!r} is not pinned and hashed"


def main(arguments: list[str]) -> int:
    """Check with --check, else resolve; the exit code."""
    project = tomllib.loads(PYPROJECT.read_text())
    if arguments == ["--check"]:
        found = [fault for name in locks(project) for fault in faults(name, project)]
        print(
            "\n".join([*found, "run `make lock`"]) if found else "the locks are in step with pyproject.toml"
        )
        return bool(found)
    for name, options in locks(project).items():
        if not arguments or name in arguments:
            resolve(name, options, project)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
