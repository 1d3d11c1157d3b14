"""The users of deploy/redis/users.acl: what each role may do is enough for it, and no more."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from palaver.producer import Client
from palaver.producer.cli.system import System
from palaver.shared.errors import ConfigurationError
from palaver.shared.jobs import Status
from palaver.shared.settings import Settings
from tests.outsider import follow, text_of
from tests.processes import ROOT, Processes
from tests.servers import RedisServer, missing, redis_binary, start_redis

pytestmark = [pytest.mark.redis, pytest.mark.worker]

USERS = ROOT / "deploy/redis/users.acl"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with the roles."""
    binary = redis_binary("redis-7") or redis_binary("redis-6.2")
    if binary is None:
        missing("no Redis server on this machine")
    folder = tmp_path_factory.mktemp("acl")
    users = folder / "users.acl"
    users.touch()
    with Processes(folder) as processes:
        server = start_redis(processes, binary, "--aclfile", str(users))
        with server.client() as client:
            users.write_bytes(USERS.read_bytes())
            client.acl_load()
        yield server


def url(server: RedisServer, role: str, database: int = 0) -> str:
    return f"redis://{role}:{role.upper()}-PASSWORD@127.0.0.1:{server.port}/{database}"


def connect(server: RedisServer, role: str) -> redis.Redis:
    return redis.Redis.from_url(url(server, role))


def refused(server: RedisServer) -> list[str]:
    """Which role was refused what."""
    with connect(server, "admin") as admin:
        return [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in admin.acl_log()]


def test_workers_and_producers_and_readers_have_all_that_they_need(
    guarded: RedisServer, processes: Processes
) -> None:
    environment = {"PALAVER_REDIS_URL": url(guarded, "worker")}
    worker = processes.start(("palaver", "worker"), name="worker", env=environment)  # gossip and mingle too
    name = worker.wait_for(r"(\S+@\S+) ready\.$", seconds=60)[1]
    producer = {"PALAVER_REDIS_URL": url(guarded, "producer")}
    with Client(Settings(redis_url=url(guarded, "producer"))) as client, connect(guarded, "reader") as reader:
        handle = client.submit("Hello", session_id="s1")
        assert text_of(follow(reader, "s1")) == handle.result(timeout=30).content == "Hello"
        assert "".join(chunk.delta for chunk in client.job(handle.job_id)) == "Hello"
        long = client.submit('{"n": 4000, "rate": 20}')
        assert client.job(long.job_id).cancel() in (Status.QUEUED, Status.RUNNING, Status.CANCELLED)
        for command in (("status", "--quick"), ("dead", "list"), ("job", "show", handle.job_id)):
            told = processes.start(("palaver", *command), name=command[0], env=producer)
            assert told.wait(30) == 0, told.output
        ping = ("inspect", "ping", "--destination", name, "--timeout", "20")  # by itself it waits a second
        inspected = processes.start(
            ("celery", "-A", "palaver.workers", *ping), name="inspect", env=environment
        )
        assert inspected.wait() == 0, inspected.output
    with closing(System(Settings(redis_url=url(guarded, "worker")))) as system:
        shown = {metric.name for metric, values in system.families() if values}
        assert system.problems() == []
        assert "palaver_ledger_memory_bytes" in shown
    assert refused(guarded) == []


DENIED = {
    "default": ["PING"],
    "reader": [
        *("SET palaver:{s1}:events x", "XADD palaver:{s1}:events * e x", "PUBLISH palaver:{s1} x"),
        *("GET palaver:job:x", "ZRANGE palaver:due 0 -1", "LRANGE palaver.normal 0 -1", "KEYS *"),
        *("EVAL return(0) 0", "CONFIG GET *", "FLUSHALL", "PSUBSCRIBE *", "SUBSCRIBE /0.celery.pidbox"),
    ],
    "producer": [
        *("GET other", "SET other x", "KEYS *", "CONFIG GET *", "FLUSHALL", "SLAVEOF NO ONE", "MONITOR"),
        *("LRANGE unacked 0 -1", "PUBLISH /0.celery.pidbox x", "ACL LIST", "SHUTDOWN", "SUBSCRIBE other"),
    ],
    "worker": [
        *("GET other", "SET other x", "KEYS *", "CONFIG GET *", "FLUSHALL", "SLAVEOF NO ONE", "MONITOR"),
        *("ACL LIST", "SHUTDOWN", "SUBSCRIBE other", "MODULE LIST"),
    ],
}


@pytest.mark.parametrize("role", DENIED)
def test_no_role_may_do_more(guarded: RedisServer, role: str) -> None:
    nobody = redis.Redis(port=guarded.port, retry=Retry(NoBackoff(), 0))
    with nobody if role == "default" else connect(guarded, role) as client:
        for command in DENIED[role]:
            with pytest.raises((NoPermissionError, redis.AuthenticationError)):
                client.execute_command(*command.split())
    with connect(guarded, "admin") as admin:
        admin.acl_log_reset()


def test_whoever_lacks_a_right_is_told_where_they_stand(
    guarded: RedisServer, make_role: Callable[[str], str]
) -> None:
    url = make_role("-@all +@read +@connection +info")
    with Client(Settings(redis_url=url)) as client, pytest.raises(ConfigurationError, match=r"users\.acl"):
        client.submit("Hello", session_id="s1")


@pytest.fixture
def make_role(guarded: RedisServer) -> Iterator[Callable[[str], str]]:
    """The URL of another user, for all keys, with these rights."""
    name = f"user{os.getpid()}"

    def make(rights: str) -> str:
        with connect(guarded, "admin") as admin:
            admin.execute_command("ACL", "SETUSER", name, "on", ">secret", "~*", "&*", *rights.split())
        return f"redis://{name}:secret@127.0.0.1:{guarded.port}/0"

    yield make
    with connect(guarded, "admin") as admin:
        admin.acl_deluser(name)
        admin.acl_log_reset()
