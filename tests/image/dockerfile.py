"""A Dockerfile's steps, done without Docker: in an empty folder, in which the image's paths begin, by a user
without rights.

What a container engine adds is left out: the base image, whose Python is the machine's here, the namespaces,
and the owners of what is copied. A step that would write elsewhere fails, as this user may not.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.processes import ROOT, clean_environment
from tests.servers import missing

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs")
ABSOLUTE = re.compile(r"(?<![\w.:/-])/(?:src|opt|etc|var|tmp)\b")
FITS = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
PASSED_ON = ("PIP_", "UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass
class Stage:
    """What one `FROM` has come to."""

    folder: str = "/"  # WORKDIR
    environment: dict[str, str] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)  # ENTRYPOINT, CMD, HEALTHCHECK
    user: str = ""
    done: list[str] = field(default_factory=list)  # the instructions, in order


class Image:
    """Builds a Dockerfile below `folder`; the last stage's files are then in `folder/root`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._kept = folder / "stages"
        self.stage = Stage()
        self._name = ""
        self._count = 0
        self.as_user = AS_NOBODY if os.getuid() == 0 else ()
        self._python = self._base_python()

    def build(self, dockerfile: str) -> None:
        """Every step, in order. Raises CalledProcessError with what a failed one has said."""
        for word, rest in instructions(dockerfile):
            getattr(self, f"_{word.lower()}")(rest)
            self.stage.done.append(word)

    def command(self, kind: str) -> list[str]:
        """The words of ENTRYPOINT, CMD or HEALTHCHECK."""
        return [self._translated(word) for word in self.stage.words[kind]]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a container's process finds set; its PATH, before the machine's own."""
        inherited = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED_ON)}
        machine = f"{self._machine_path()}{os.pathsep}{os.defpath}"
        expanded = {
            name: self._translated(value).replace("$PATH", machine)
            for name, value in self.stage.environment.items()
        }
        base = clean_environment() | {"PATH": machine, "HOME": str(self._at("/tmp"))}
        return base | inherited | expanded | dict(more or {})

    def run(self, words: list[str], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command as the container would, to its end."""
        return subprocess.run(
            (*self.as_user, *words),
            cwd=self._at(self.stage.folder),
            env=self.environment(env),
            text=True,
            capture_output=True,
            check=False,
            timeout=300,
        )

    # Instructions

    def _from(self, rest: str) -> None:
        if self.root.exists():
            self._kept.mkdir(exist_ok=True)
            self.root.rename(self._kept / (self._name or str(self._count)))
            self._count += 1
        self._name = rest.partition(" AS ")[2]
        self.stage = Stage()
        self.root.mkdir(parents=True)
        for folder in ("tmp", "machine"):
            (self.root / folder).mkdir()
        self._machine_path().joinpath("python").symlink_to(self._python)
        self._own(self.root)

    def _workdir(self, rest: str) -> None:
        self.stage.folder = rest
        self._made(self._at(rest))

    def _run(self, rest: str) -> None:
        done = self.run(["/bin/sh", "-euc", self._translated(rest)])
        if done.returncode:
            raise AssertionError(f"RUN {rest}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")

    def _copy(self, rest: str) -> None:
        words = shlex.split(rest)
        options = [word for word in words if word.startswith("--")]
        *sources, target = [word for word in words if not word.startswith("--")]
        stage = next((word.removeprefix("--from=") for word in options if word.startswith("--from=")), None)
        source_root = ROOT if stage is None else self._kept / stage
        goal = self._at(target if target.startswith("/") else f"{self.stage.folder}/{target}")
        for source in sources:
            found = source_root / source.lstrip("/")
            into = goal / found.name if found.is_file() and target.endswith("/") else goal
            self._made(into.parent)
            if found.is_dir():
                shutil.copytree(found, into, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy2(found, into if into.suffix or not into.is_dir() else into / found.name)
        self._own(goal)

    def _env(self, rest: str) -> None:
        for word in shlex.split(rest):
            name, _, value = word.partition("=")
            self.stage.environment[name] = value

    def _user(self, rest: str) -> None:
        self.stage.user = rest

    def _entrypoint(self, rest: str) -> None:
        self.stage.words["ENTRYPOINT"] = json.loads(rest)

    def _cmd(self, rest: str) -> None:
        self.stage.words["CMD"] = json.loads(rest)

    def _healthcheck(self, rest: str) -> None:
        self.stage.words["HEALTHCHECK"] = json.loads(rest.partition(" CMD ")[2])

    # Paths

    def _base_python(self) -> Path:
        """A Python that the user without rights may run: a developer's own is often in a closed folder."""
        for python in (Path(sys.executable).resolve(), Path("/usr/bin/python3")):
            # setpriv itself still finds what its command may not
            words = (*self.as_user, "/bin/sh", "-c", f"exec {python} -c '{FITS}'")
            if not subprocess.run(words, capture_output=True, cwd="/", timeout=30, check=False).returncode:
                return python
        return missing("no Python 3.11 with venv that a user without rights may run")

    def _at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _machine_path(self) -> Path:
        """Stands for /usr/bin of the base image, as far as the machine's differs."""
        return self.root / "machine"

    def _translated(self, text: str) -> str:
        return ABSOLUTE.sub(lambda found: f"{self.root}{found.group()}", text)

    def _made(self, folder: Path) -> None:
        missing = [part for part in (folder, *folder.parents) if not part.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for part in missing:
            self._own(part)

    def _own(self, path: Path) -> None:
        """The user without rights may write here, until the image is done."""
        if self.as_user:
            for part in (path, *path.rglob("*")):
                os.chown(part, NOBODY, NOBODY, follow_symlinks=False)


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    """The instructions, without comments, their lines joined."""
    lines = (line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        yield word, rest.strip()
