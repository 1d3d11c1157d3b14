"""`make demo`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import clean_environment


@pytest.mark.worker
def test_the_demo_holds_past_the_death_of_a_worker_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "palaver.producer.cli.demo"],
        cwd=tmp_path,
        env=clean_environment(
            {"TMPDIR": str(tmp_path / "tmp"), "PALAVER_REDIS_URL": "redis://127.0.0.1:1/0"}
        ),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "All texts are equal" in done.stdout
    first, second = (re.search(rf"reader {n} +(\d+ events +\d+ characters)", done.stdout) for n in (1, 2))
    assert first is not None
    assert second is not None
    assert first[1] == second[1]
    assert re.search(r"joined after [1-9]\d* of them", done.stdout)
    crash = re.search(r"^(worker \d) was killed; (worker \d) went on .* s later", done.stdout, re.MULTILINE)
    assert crash is not None, done.stdout
    assert crash[1] != crash[2]
    answer = " ".join(done.stdout.split())
    # Before it is dead it may write some words more.
    assert re.search(rf"here: (\S+ )*?⟨{crash[1]} is killed⟩ (\S+ )*?⟨{crash[2]} goes on⟩ ", answer)
    assert "may be killed, here: another one finds what was written" in re.sub("⟨.*?⟩ ", "", answer)
    assert not list((tmp_path / "tmp").iterdir())
    assert not (tmp_path / ".palaver").exists()
