"""How many batches a worker drives."""

from typing import Any, cast

from palaver.workers.batches import Drivers
from palaver.workers.running import Running
from palaver.workers.stop import Stop


async def test_slots_that_change_while_a_worker_runs_change_what_it_drives() -> None:
    running = Running(8)
    drivers = Drivers(cast("Any", object()), running)
    running.slots = 1
    assert await drivers.drive("batch", Stop()) == "no_slot"
