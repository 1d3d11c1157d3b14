"""Follows many sessions in one program: `python -m tests.benchmarks.follower REDIS_URL SESSIONS EVENTS`.

Prints "ended" when every session has had so many events besides its `job_queued`.
"""

import asyncio
import sys

from palaver.producer import AsyncClient
from palaver.shared.settings import Settings


async def main(redis_url: str, sessions: int, events: int) -> None:
    async with AsyncClient(Settings(redis_url=redis_url, connect_seconds=30)) as client:

        async def follow(session_id: str) -> None:
            seen = 0
            async for event in client.events(session_id):
                seen += 1
                assert event.seq == seen
                if seen == events + 1:
                    return

        await asyncio.gather(*(follow(f"bench-{number}") for number in range(sessions)))
        print("ended", flush=True)
        await asyncio.Event().wait()  # until it is killed: its CPU is still to be read


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
