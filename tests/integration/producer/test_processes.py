"""A client in programs as they are: that fork, that are interrupted, that end in the middle of an answer."""

import asyncio
import gc
import os
import signal
import weakref
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from palaver.producer import AsyncClient, Client, JobHandle
from palaver.producer.interfaces import AsyncConversations, Clients
from palaver.shared.ledger import Keys
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import StandIn
from tests.processes import Processes, Running, signal_beside
from tests.servers import IN_TIME, RedisServer, eventually

WorkOn = Callable[[JobHandle], StandIn]
Run = Callable[..., Running]
Send = Callable[[int, int], None]


@pytest.fixture
def run(processes: Processes, settings: Settings, tmp_path: Path) -> Run:
    """Run a program with a `client` and the job's `handle`; any warning of the interpreter is an error."""

    def start(handle: JobHandle, program: str) -> Running:
        script = tmp_path / "program.py"
        head = f"""
            import os, sys
            from palaver.producer import Client
            client = Client()
            handle = client.job({handle.job_id!r})
        """
        script.write_text(dedent(head) + dedent(program))
        env = {
            "PALAVER_REDIS_URL": settings.redis_url,
            "PALAVER_NAMESPACE": settings.namespace,
            "PALAVER_CONNECT_SECONDS": str(IN_TIME),
        }
        return processes.python("-W", "error", str(script), env=env)

    return start


def test_a_program_that_ends_in_the_middle_of_an_answer_ends_quietly(
    client: Client, run: Run, work_on: WorkOn
) -> None:
    handle = client.submit("x")
    work_on(handle).start()
    running = run(handle, "reading = handle.events(); print(next(reading).type, next(reading).type)")
    assert running.wait() == 0
    running.drained()
    assert running.lines == ["job_queued stream_start"]


def test_a_reading_that_nobody_holds_gives_up_its_subscription(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    handle = client.submit("x")
    worker = work_on(handle)
    worker.start()
    reading = handle.events()
    first = [next(reading), next(reading)]
    worker.say("a")
    first.append(next(reading))
    channel = Keys(settings.namespace).channel(handle.session_id).encode()
    with redis_server.client() as redis:
        assert channel in redis.pubsub_channels()
        del reading
        assert eventually(lambda: channel not in redis.pubsub_channels())


def test_a_loop_that_ends_closes_the_connections_of_a_client_that_nobody_closes(
    settings: Settings, redis_server: RedisServer
) -> None:
    client = AsyncClient(settings)
    with redis_server.client() as redis:
        others = {each["id"] for each in redis.client_list()}  # of tests before, some of them about to go

        def opened() -> set[str]:
            return {each["id"] for each in redis.client_list()} - others

        async def ask() -> set[str]:
            assert await client.agents() == []
            return opened()

        for _ in range(2):
            assert asyncio.run(ask())
            assert eventually(lambda: not opened())


@pytest.mark.parametrize("face", ["client", "conversations"])
def test_a_loop_that_ended_is_kept_by_nobody(settings: Settings, face: str) -> None:
    """A process that has a loop for each thing it does would keep them all, with what they have opened."""
    clients = Clients(settings)
    conversations = AsyncConversations(clients)

    async def use() -> weakref.ref[asyncio.AbstractEventLoop]:
        if face == "client":
            await clients.awaited.served()
        else:
            await conversations.sessions(user=1)
        return weakref.ref(asyncio.get_running_loop())

    loops = [asyncio.run(use()) for _ in range(3)]
    gc.collect()
    assert [loop() for loop in loops] == [None, None, None]


def test_ctrl_c_ends_a_wait(client: Client, run: Run, settings: Settings, redis_server: RedisServer) -> None:
    handle = client.submit("x")
    running = run(
        handle,
        """
        try:
            handle.result()
        except KeyboardInterrupt:
            print("interrupted")
        """,
    )
    channel = Keys(settings.namespace).channel(handle.session_id).encode()
    with redis_server.client() as redis:
        assert eventually(lambda: channel in redis.pubsub_channels())
    running.signal(signal.SIGINT)
    assert running.wait(10) == 0
    running.drained()
    assert running.lines == ["interrupted"]


@pytest.mark.parametrize("send", [os.kill, signal_beside], ids=["to_the_main_thread", "to_another_thread"])
def test_ctrl_c_ends_a_loop_and_the_job_goes_on(
    client: Client, run: Run, work_on: WorkOn, send: Send
) -> None:
    handle = client.submit("x")
    worker = work_on(handle)
    worker.start()
    worker.say("a")
    running = run(
        handle,
        """
        try:
            for chunk in handle:
                print(chunk.delta, flush=True)
        except KeyboardInterrupt:
            print("interrupted", handle.status)
        """,
    )
    running.wait_for("^a$")
    send(running.pid, signal.SIGINT)
    assert running.wait(10) == 0
    running.drained()
    assert running.lines == ["a", "interrupted running"]


def test_ctrl_c_ends_a_submit_of_many_jobs(client: Client, run: Run) -> None:
    running = run(
        client.submit("x"),
        """
        import signal, threading

        def interrupt():
            while client.ledger.unended() < 1000:
                pass
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            client.submit_many(["x"] * 30_000)
        except KeyboardInterrupt:
            print(client.ledger.unended())
        """,
    )
    assert running.wait(60) == 0
    running.drained()
    assert running.lines == [str(client.ledger.unended())], "jobs were stored after it"


def test_daemon_threads_that_read_end_with_their_program_and_say_nothing(client: Client, run: Run) -> None:
    running = run(
        client.submit("x"),
        """
        import threading

        def follow():
            for event in handle.events():
                begun.release()
            print("the loop has ended")

        def wait():
            begun.release()
            handle.result()
            print("the job has ended")

        def ask():
            begun.release()
            while True:
                next(handle.events())

        begun = threading.Semaphore(0)
        for read in (follow, wait, ask, ask):
            threading.Thread(target=read, daemon=True).start()
        for _ in range(4):
            begun.acquire()
        """,
    )
    assert running.wait(20) == 0
    running.drained()
    assert running.output == ""


def test_nor_do_daemon_threads_whose_read_fails_as_the_loop_ends(client: Client, run: Run) -> None:
    running = run(
        client.submit("x"),
        """
        import asyncio, threading
        from palaver.producer.background import background

        async def cut_off():
            begun.release()
            try:
                await asyncio.Event().wait()
            finally:
                raise ConnectionError("closed under its hands")

        begun = threading.Semaphore(0)
        threading.Thread(target=lambda: background().run(cut_off()), daemon=True).start()
        begun.acquire()
        """,
    )
    assert running.wait(20) == 0
    running.drained()
    assert running.output == ""


def test_after_a_fork_a_child_uses_an_async_client_that_its_parent_has_used(client: Client, run: Run) -> None:
    running = run(
        client.submit("x"),
        """
        import asyncio
        from palaver.producer import AsyncClient
        from palaver.shared.beside import in_thread

        client.close()  # it is another one that goes on
        other = AsyncClient()

        async def use():
            async with asyncio.timeout(15):
                handle = await other.submit(await in_thread(lambda: "x"))
                await other.leave()
            return handle.job_id

        asyncio.run(use())
        if child := os.fork():
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        print(asyncio.run(use()))
        """,
    )
    assert running.wait(60) == 0
    running.drained()
    assert [client.job(line).status for line in running.lines] == ["queued"]


def test_after_a_fork_parent_and_child_both_read_on_and_submit(
    client: Client, run: Run, work_on: WorkOn
) -> None:
    handle = client.submit("x")
    worker = work_on(handle)
    worker.start()
    worker.say("a")
    running = run(
        handle,
        """
        def say(*words):  # in one write: two processes share this output
            os.write(1, " ".join(words).encode() + b"\\n")

        reading = handle.events()
        text = [next(reading), next(reading), next(reading)][-1].data.delta
        child = os.fork()
        who = "parent" if child else "child"
        say(who, "reads")
        text += "".join(event.data.delta for event in reading if event.type == "text_chunk")
        client.submit("y", job_id=who)
        say(who, text, handle.result().content)
        if child:
            sys.exit(os.waitpid(child, 0)[1])
        """,
    )
    running.wait_for("parent reads")
    running.wait_for("child reads")
    worker.say("b")
    worker.complete()
    assert running.wait(30) == 0
    running.drained()
    assert sorted(running.lines) == ["child ab ab", "child reads", "parent ab ab", "parent reads"]
    assert [client.job(who).status for who in ("parent", "child")] == ["queued", "queued"]
