"""What is shipped: the wheel, installed where the checkout is not, and the source distribution."""

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.processes import ROOT, clean_environment

pytestmark = pytest.mark.xdist_group("packaging")  # one wheel, one environment

SHIPPED = ("palaver/shared/py.typed", "palaver/producer/py.typed", "palaver/workers/py.typed")


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def build(target: str, folder: Path, source: Path = ROOT) -> Path:
    """Build "wheel" or "sdist" with the backend that is installed here, without a network."""
    script = f"from hatchling import build; print(build.build_{target}({str(folder)!r}))"
    return folder / run(sys.executable, "-c", script, cwd=source).split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment into which pip installed the wheel; of ours it sees the dependencies alone."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    # A folder in a .pth file adds our dependencies, but not the .pth of our own editable install.
    Path(run(python, "-c", where), "dependencies.pth").write_text(run(sys.executable, "-c", where))
    return folder / "bin"


def test_the_wheel_holds_all_that_runs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    in_tree = {
        str(path.relative_to(ROOT / room))
        for room in ("shared", "producer", "workers")
        for path in (ROOT / room / "palaver").rglob("*")
        if path.is_file() and not {"__pycache__", "node_modules"} & set(path.parts)
    }
    assert in_tree <= inside
    assert set(SHIPPED) <= inside
    assert any(name.endswith(".lua") for name in inside)
    assert not {name for name in inside if name.startswith(("tests", "shared", "palaver/__init__"))}


def test_an_install_of_the_wheel_imports_and_runs(installed: Path) -> None:
    code = """
import palaver.shared.schemas, palaver.producer, palaver.workers
from palaver.shared.ledger import operations
home = palaver.shared.__file__
assert "installed" in home and "site-packages" in home, home
assert palaver.shared.schemas.documents()
print("imported")
"""
    assert run(installed / "python", "-I", "-c", code) == "imported"


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    run("tar", "-xf", build("sdist", tmp_path), "-C", tmp_path)
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    for name in ("Makefile", "LICENSE", "tests/conftest.py", "deploy/compose.yaml", "requirements/all.txt"):
        assert (source / name).is_file(), name
    again = build("wheel", tmp_path, source)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert first.namelist() == second.namelist()


def needed(requirements: Iterable[str], extras: Iterable[str] = ()) -> set[str]:
    """The distributions that an install of these brings along."""
    found: set[str] = set()
    for line in requirements:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            found.add(canonicalize_name(requirement.name))
            found |= needed(metadata.requires(requirement.name) or (), requirement.extras)
    return found


def test_what_a_producer_alone_installs_is_enough(tmp_path: Path) -> None:
    """Whatever is here for workers and tests is hidden."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    there = {"palaver", *needed(project["dependencies"])}
    hidden = [
        module
        for module, owners in metadata.packages_distributions().items()
        if there.isdisjoint(map(canonicalize_name, owners))
    ]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({hidden!r}))
from palaver.producer.broker import Broker
from palaver.producer.cli.entry import main
from palaver.shared.errors import BrokerUnavailableError
try:
    Broker("redis://127.0.0.1:1").check()
except BrokerUnavailableError as error:
    print(error)
sys.exit(main(["schema", "--json"]))
"""
    assert "celery" in hidden
    told = run(sys.executable, "-I", "-c", code, cwd=tmp_path)
    assert told.startswith("The broker at redis://127.0.0.1:1 cannot be reached: connection refused")
