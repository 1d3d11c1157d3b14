"""A body that is poured, and the connection that it leaves to the next one with its last byte."""

import asyncio

from aiohttp import StreamReader

from palaver.workers.pour import Pour, Silences, TellingWire

MORE_THAN_A_TURN = b"a" * 200_000


async def test_what_is_left_of_a_body_takes_the_wire_from_nobody() -> None:
    loop, silences = asyncio.get_running_loop(), Silences()
    wire, first, second = TellingWire(loop), bytearray(), bytearray()
    bodies = [StreamReader(wire, 2**20, loop=loop) for _ in range(2)]
    bodies[0].feed_data(MORE_THAN_A_TURN)

    def pour(number: int, taken: bytearray) -> Pour:
        def take(data: bytes) -> bool:
            taken.extend(data)
            return True

        return Pour(bodies[number], wire, take, silence=60, silences=silences)

    pours = [pour(0, first), pour(1, second)]
    pours[0].begin()
    bodies[0].feed_eof()  # aiohttp gives the connection to the next request
    pours[1].begin()
    assert await pours[0].ended
    assert bytes(first) == MORE_THAN_A_TURN
    bodies[1].feed_data(b"b")
    assert wire.arrived is not None
    wire.arrived()
    assert bytes(second) == b"b"
    late = pour(0, first)
    late.begin()
    assert await late.ended
    bodies[1].feed_data(b"b")
    wire.arrived()
    assert bytes(second) == b"bb"
    silences.close()
