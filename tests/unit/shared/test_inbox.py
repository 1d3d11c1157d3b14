"""An inbox says what has arrived, or that nothing has, on each event loop that we run on."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from palaver.shared.ledger.subscriptions import Inbox

ROUNDS = 300
"""How often a message comes in the very turn in which its reader would be told that none has."""


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_message_that_comes_as_patience_ends_is_received(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def read() -> list[object]:
        received: list[object] = []
        inbox = Inbox("channel", limit=ROUNDS)
        for number in range(ROUNDS):
            patience = 0.001 * (1 + number % 7)  # uvloop counts milliseconds, and sums of them are not exact
            asyncio.get_running_loop().call_later(patience, inbox.put, b"%d" % number)
            received += await inbox.receive(patience)
        while len(received) < ROUNDS:
            received += await inbox.receive()
        return received

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(read()) == [b"%d" % number for number in range(ROUNDS)]
