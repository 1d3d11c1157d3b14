"""Which release the upgrade tests take, in clones of any depth."""

import subprocess
from pathlib import Path

import pytest

from tests.upgrades.release import BASELINE, chosen


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of three commits, without a tag."""
    monkeypatch.delenv("PALAVER_TEST_RELEASE", raising=False)
    folder = tmp_path / "origin"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for number in range(3):
        git(folder, "-c", "user.name=n", "-c", "user.email=e@e", *commit(str(number)))
    return folder


def commit(message: str) -> tuple[str, ...]:
    return ("-c", "commit.gpgsign=false", "commit", "--quiet", "--allow-empty", "--message", message)


def git(folder: Path, *words: str) -> None:
    subprocess.run(("git", *words), cwd=folder, check=True, timeout=30)


def cloned(origin: Path, *options: str) -> Path:
    git(origin.parent, "clone", "--quiet", *options, origin.as_uri(), "clone")
    return origin.parent / "clone"


def test_where_there_is_no_tag_it_is_the_baseline(origin: Path) -> None:
    git(origin, "tag", "vnext")
    ref, why = chosen(cloned(origin))
    assert ref == BASELINE.read_text().strip()
    assert "no tag" in why


@pytest.mark.parametrize(
    "options", [(), ("--depth=1",), ("--depth=1", "--no-tags")], ids=["full", "shallow", "bare"]
)
def test_it_is_the_newest_tag_in_a_clone_of_any_depth(origin: Path, options: tuple[str, ...]) -> None:
    git(origin, "tag", "v0.9.0", "HEAD~2")
    git(origin, "tag", "v0.10.0", "HEAD~1")
    git(origin, "tag", "v0.11.0-rc.1", "HEAD~1")
    assert chosen(cloned(origin, *options))[0] == "v0.10.0"


def test_at_the_release_itself_it_is_the_one_before(origin: Path) -> None:
    git(origin, "tag", "v0.1.0", "HEAD~1")
    git(origin, "tag", "v0.2.0")
    assert chosen(cloned(origin))[0] == "v0.1.0"


def test_a_wish_is_granted(origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(origin, "tag", "v0.1.0", "HEAD~1")
    monkeypatch.setenv("PALAVER_TEST_RELEASE", "HEAD~2")
    assert chosen(origin)[0] == "HEAD~2"
