"""A Redis with a replica, and three sentinels that watch it: a failover of one's own."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.sentinel import Sentinel

from tests.certificates import Certificates
from tests.processes import Processes
from tests.servers import (
    RedisServer,
    eventually,
    free_port,
    missing,
    new_namespace,
    redis_binary,
    start_redis,
    words,
)

MASTER = "mymaster"
DOWN_AFTER_MS = 1000
"""So long a master may be silent before its sentinels agree that it is gone."""
QUORUM = 2


@dataclass(frozen=True, kw_only=True)
class Watched(RedisServer):
    """Whichever of two servers is the master, as sentinels at `ports` say it."""

    servers: Mapping[int, RedisServer]
    """The master and its replica, at first, by the port under which the sentinels know them."""
    ports: tuple[int, ...]
    tls: Certificates | None = None
    """Whoever asks them has to talk TLS; without it too, whoever asks the servers at their own ports."""

    @property
    def url(self) -> str:
        scheme, query = ("sentinel", "") if self.tls is None else ("sentinels", f"&{self.tls.query}")
        first, *others = self.ports
        further = "".join(f";{scheme}://127.0.0.1:{port}" for port in others)
        return f"{scheme}://:{self.password}@127.0.0.1:{first}/1?master_name={MASTER}{query}{further}"

    def client(self) -> Redis:
        """Of whoever is the master when a command is sent."""
        tls = _options(self.tls)
        places = [("127.0.0.1", port) for port in self.ports]
        sentinel = Sentinel(places, sentinel_kwargs=tls)  # type: ignore[no-untyped-call]
        client: Redis = sentinel.master_for(MASTER, password=self.password, db=1, **tls)  # type: ignore[no-untyped-call]
        return client

    def master(self) -> RedisServer:
        """By the word of the last sentinel."""
        with Redis("127.0.0.1", self.ports[-1], **_options(self.tls)) as sentinel:
            _, port = sentinel.sentinel_get_master_addr_by_name(MASTER)
        return self.servers[int(port)]

    def kill_master(self) -> None:
        """SIGKILL it, and wait until the other one has taken over."""
        self.lose_master(signal.SIGKILL)

    def lose_master(self, by: signal.Signals) -> None:
        """Send it a signal, and wait until the other one has taken over."""
        gone = self.master()
        assert gone.running is not None
        gone.running.signal(by)
        assert eventually(lambda: self.master() is not gone, seconds=30)

    def cut_off_replica(self) -> None:
        """From now on it hears nothing of its master; for a few seconds it may become the next one."""
        master = self.master()
        (replica,) = (server for server in self.servers.values() if server is not master)
        with replica.client() as client:
            client.config_set("masterauth", "wrong")
        with master.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
            assert eventually(lambda: client.info("replication")["connected_slaves"] == 0)


def start_watched(processes: Processes, *options: str, tls: Certificates | None = None) -> Watched:
    """Start all of it, and wait until the sentinels know each other and the replica. With `tls`, they and the
    servers talk TLS among themselves, and with everybody else.
    """
    binary = redis_binary("redis-7")
    if binary is None:
        missing("no Redis 7 server on this machine")
    password = new_namespace()
    secret = (
        "--requirepass",
        password,
        "--masterauth",
        password,
        "--repl-diskless-sync-delay",
        "0",
        *options,
    )

    def start(*more: str) -> tuple[int, RedisServer]:
        if tls is None:
            server = start_redis(processes, binary, *secret, *more, password=password)
            return server.port, server
        port = free_port()
        encrypted = words(tls.of_redis(port))
        return port, start_redis(processes, binary, *secret, *encrypted, *more, password=password)

    known, master = start()
    servers = dict([(known, master), start("--replicaof", "127.0.0.1", str(known))])
    ports = tuple(free_port() for _ in range(3))
    for port in ports:
        start_sentinel(processes, binary, port, known, password, tls=tls)
    assert eventually(lambda: all(_is_ready(port, tls) for port in ports), seconds=30)
    return Watched(
        port=ports[0], flavour="sentinel", password=password, servers=servers, ports=ports, tls=tls
    )


def start_sentinel(
    processes: Processes,
    binary: str,
    port: int,
    master: int,
    password: str = "",
    *,
    tls: Certificates | None = None,
    down_after_ms: int = DOWN_AFTER_MS,
) -> None:
    """Start one that watches the server on the port `master`; with `tls`, it talks nothing else."""
    own = {"port": str(port)} if tls is None else {"port": "0", **tls.of_redis(port)}
    lines = (
        *(f"{name} {value}" for name, value in own.items()),
        "bind 127.0.0.1",
        f"sentinel monitor {MASTER} 127.0.0.1 {master} {QUORUM}",
        f"sentinel auth-pass {MASTER} {password}" if password else "",
        f"sentinel down-after-milliseconds {MASTER} {down_after_ms}",
        f"sentinel failover-timeout {MASTER} 5000",
    )
    path = processes.folder / f"sentinel-{port}.conf"
    path.write_text("\n".join((*lines, "")))
    processes.start((binary, path, "--sentinel"), name="sentinel").wait_for("Sentinel ID is", seconds=15)


def _options(tls: Certificates | None) -> dict[str, Any]:
    return {} if tls is None else tls.of_client


def _is_ready(port: int, tls: Certificates | None) -> bool:
    with Redis("127.0.0.1", port, decode_responses=True, **_options(tls)) as sentinel:
        seen = sentinel.sentinel_master(MASTER)
        replicas = sentinel.sentinel_slaves(MASTER)
    others = seen["num-other-sentinels"]
    return others == 2 and any(replica["master-link-status"] == "ok" for replica in replicas)
