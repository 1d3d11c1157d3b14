"""Agents whose worker dies in the middle of an answer: another worker calls them anew."""

import pytest

from tests.faults.stand import Stand
from tests.processes import ROOT

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

AGENTS = ("walking/", "plain/", "asking/")


@pytest.mark.long
@pytest.mark.any_broker
def test_a_worker_is_killed_while_agents_answer(stand: Stand) -> None:
    env = {"PYTHONPATH": str(ROOT), "PALAVER_AGENTS": "tests.faults.walking_agents"}
    workers = stand.workers(2, env=env)
    jobs = [job for agent in AGENTS for job in stand.submit(6, words=120, rate=20, agent=agent)]
    stand.streaming(jobs)
    victim = stand.busiest(workers, jobs)
    stand.kill(victim)
    held = stand.held(jobs, victim)
    assert held
    books = stand.settle(jobs)
    for job in jobs:
        assert books.offsets(job) == ([0, 0] if job in held else [0])
        born = {widget["data"]["data"] for widget in books.of(job, "widget")}
        assert len(born) <= 1, "a second context for one session"
        usage = job.handle.result(timeout=5).usage
        assert usage is None or usage.total_tokens
