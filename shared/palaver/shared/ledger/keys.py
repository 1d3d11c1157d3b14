"""The names of the ledger's keys. The table of what they hold is in this folder's README."""

import hashlib
from dataclasses import dataclass
from datetime import date

from palaver.shared.errors import ConfigurationError
from palaver.shared.names import DEFAULT_NAMESPACE
from palaver.shared.owner import Owner


@dataclass(frozen=True, slots=True)
class Keys:
    """Names under one namespace (`PALAVER_NAMESPACE`).

    A session's keys share the braces of `base`, and so one slot of a Redis Cluster.
    """

    namespace: str = DEFAULT_NAMESPACE

    def __post_init__(self) -> None:
        # A brace would move the keys to another slot than their session's.
        if not self.namespace or any(c in "{}" or not c.isprintable() or c.isspace() for c in self.namespace):
            raise ConfigurationError(
                f"PALAVER_NAMESPACE must be a word without braces or spaces, not {self.namespace!r}",
                param="namespace",
            )

    def base(self, session_id: str) -> str:
        """KEYS[1] of every script on a session, and the session's channel."""
        return f"{self.namespace}:{{{session_id}}}"

    def session_in(self, key: str) -> str | None:
        """The session that a key is of; None for what is no session's."""
        head, _, rest = key.partition(":{")
        session_id, brace, _ = rest.partition("}:")
        return session_id if brace and head == self.namespace else None

    def job_in(self, key: str) -> str | None:
        """The job whose hash a session's key is; None for any other key."""
        kind, _, job_id = key.rpartition("}:")[2].partition(":")
        return job_id if kind == "job" and ":" not in job_id else None

    def channel(self, session_id: str) -> str:
        """The channel on which the session's events are published."""
        return self.base(session_id)

    def events(self, session_id: str) -> str:
        """The session's log, a stream."""
        return f"{self.base(session_id)}:events"

    def session(self, session_id: str) -> str:
        """The session's hash."""
        return f"{self.base(session_id)}:session"

    def waiting(self, session_id: str) -> str:
        """The line of jobs behind the one that has the turn."""
        return f"{self.base(session_id)}:waiting"

    def jobs(self, session_id: str) -> str:
        """The session's jobs that have not ended, and the last of those that have."""
        return f"{self.base(session_id)}:jobs"

    def ended(self, session_id: str) -> str:
        """Those of its jobs that ended before them, by when their keys go."""
        return f"{self.base(session_id)}:ended"

    def messages(self, session_id: str) -> str:
        """The session's history."""
        return f"{self.base(session_id)}:messages"

    def stored(self, session_id: str) -> str:
        """The stored messages of a conversation."""
        return f"{self.base(session_id)}:stored"

    def unarchived_jobs(self, session_id: str) -> str:
        """The jobs of a conversation whose messages are not stored yet."""
        return f"{self.base(session_id)}:unarchived"

    def of_session(self, session_id: str) -> tuple[str, ...]:
        """The keys that a session of jobs or a conversation has, beside those of its jobs."""
        kinds = (self.events, self.waiting, self.jobs, self.ended, self.messages, self.stored)
        of_kinds = (kind(session_id) for kind in kinds)
        return (*of_kinds, self.unarchived_jobs(session_id), self.session(session_id))

    def idempotency(self, session_id: str, key: str) -> str:
        """An idempotency key of the session."""
        return f"{self.base(session_id)}:key:{key}"

    def job(self, session_id: str, job_id: str) -> str:
        """A job's hash."""
        return f"{self.base(session_id)}:job:{job_id}"

    def text(self, session_id: str, job_id: str) -> str:
        """The text of a running job so far."""
        return f"{self.job(session_id, job_id)}:text"

    def reasoning(self, session_id: str, job_id: str) -> str:
        """The reasoning of a running job so far."""
        return f"{self.job(session_id, job_id)}:reasoning"

    def batch(self, batch_id: str) -> str:
        """A batch's hash."""
        return f"{self.base(batch_id)}:batch"

    def batch_parts(self, batch_id: str) -> str:
        """The parts in which results of a batch are stored."""
        return f"{self.base(batch_id)}:batch:parts"

    def index(self, job_id: str) -> str:
        """Holds the session id of a job."""
        return f"{self.namespace}:job:{job_id}"

    def probe(self, probe_id: str) -> str:
        """A worker's answer to a probe, and the channel of who waits for it."""
        return f"{self.namespace}:probe:{probe_id}"

    def answer(self, digest: str) -> str:
        """A cached answer to the request of this digest, and the channel of who waits for it."""
        return f"{self.namespace}:cache:{{{digest}}}"

    @property
    def answers(self) -> str:
        """The digests of cached answers, by when they were used."""
        return f"{self.namespace}:cached"

    def usage(self, day: date, tenant: str) -> str:
        """What a tenant has spent on a day, UTC; without a tenant: ``""``."""
        return f"{self.namespace}:usage:{{{day.isoformat()}/{tenant}}}"

    def usage_tenants(self, day: date) -> str:
        """The tenants that have spent something on a day."""
        return f"{self.namespace}:usage:{day.isoformat()}"

    def profile(self, name: str) -> str:
        """A sealed profile."""
        return f"{self.namespace}:profile:{name}"

    def owner(self, owner: Owner) -> str:
        """Somebody's conversations. By a digest: an id may hold anything, and need not show in a key."""
        return f"{self.namespace}:owner:{{{hashlib.sha256(owner.to_json()).hexdigest()[:32]}}}"

    def owner_batches(self, owner: Owner) -> str:
        """Somebody's batches, by when their time is over at the latest."""
        return f"{self.owner(owner)}:batches"

    @property
    def unarchived(self) -> str:
        """The conversations of which something is not stored yet, by when an archiver should look."""
        return f"{self.namespace}:unarchived"

    @property
    def archiver(self) -> str:
        """There while an archiver has its turn."""
        return f"{self.namespace}:archiver"

    def gate(self, name: str) -> str:
        """KEYS[1] of every script on the gate of a profile or a tenant, and a hash."""
        return f"{self.namespace}:gate:{{{name}}}"

    def pause(self, profile: str) -> str:
        """There while an operator has paused the profile: who did."""
        return f"{self.gate(profile)}:paused"

    def gate_channel(self, name: str, session_id: str, job_id: str) -> str:
        """Where a worker that waits with a job at a gate hears that it was given a place."""
        return f"{self.gate(name)}:{due_member(session_id, job_id)}"

    @property
    def gates(self) -> str:
        """When somebody should next look at each gate at which something waits."""
        return f"{self.namespace}:gates"

    @property
    def api_keys(self) -> str:
        """The gateway's API keys, by id."""
        return f"{self.namespace}:keys"

    def throttle(self, name: str) -> str:
        """How many of a minute's requests of this name are left."""
        return f"{self.namespace}:throttle:{name}"

    @property
    def ready(self) -> str:
        """KEYS[1] of every script on the jobs that wait for a worker, and a hash."""
        return f"{self.namespace}:ready:{{all}}"

    @property
    def batches(self) -> str:
        """When a sweeper should next look at each batch that has not ended."""
        return f"{self.namespace}:batches"

    @property
    def stored_batches(self) -> str:
        """When somebody should next see whether the objects of each batch are to go."""
        return f"{self.namespace}:batches:stored"

    @property
    def webhooks(self) -> str:
        """KEYS[1] of every script on the webhooks to deliver: the tenants that have some, by their turns."""
        return f"{self.namespace}:webhooks:{{all}}"

    def webhooks_of(self, tenant: str) -> str:
        """When somebody should next see to each webhook of a tenant; without one: ``""``."""
        return f"{self.webhooks}:of:{tenant}"

    def spent(self, day: date, tenant: str) -> str:
        """What a tenant has spent in the month of a day, UTC; without a tenant: ``""``."""
        return f"{self.namespace}:spent:{{{day:%Y-%m}/{tenant}}}"

    def unended(self, name: str) -> str:
        """A list of jobs that have not ended, where their number is bounded: of all, or of a tenant."""
        return f"{self.namespace}:unended:{{{name}}}"

    @property
    def due(self) -> str:
        """When a sweeper should next look at each unended job."""
        return f"{self.namespace}:due"

    def sent(self, queue: str) -> str:
        """When the messages were sent that have waited in this broker queue for a while."""
        return f"{self.namespace}:sent:{queue}"

    def passed(self, queue: str) -> str:
        """How far this broker queue is: what arrived there before that time has left it."""
        return f"{self.namespace}:passed:{queue}"

    @property
    def dead(self) -> str:
        """The dead letters: jobs that failed or expired, by when they ended."""
        return f"{self.namespace}:dead"

    @property
    def sweep(self) -> str:
        """Who sweeps, and when the last sweep was."""
        return f"{self.namespace}:sweep"

    @property
    def workers(self) -> str:
        """Live workers with their load."""
        return f"{self.namespace}:workers"

    @property
    def profiles(self) -> str:
        """The provider profiles that live workers serve."""
        return f"{self.namespace}:profiles"

    @property
    def tenants(self) -> str:
        """What workers announce of the bounds of tenants."""
        return f"{self.namespace}:tenants"

    @property
    def agents(self) -> str:
        """The agent paths that live workers serve."""
        return f"{self.namespace}:agents"

    @property
    def canaries(self) -> str:
        """When the canary of each broker queue was sent, and taken."""
        return f"{self.namespace}:canaries"

    def canary(self, worker: str) -> str:
        """The channel on which a worker measures how long a message is on its way."""
        return f"{self.namespace}:canary:{worker}"

    @property
    def control(self) -> str:
        """The channel of notices to workers."""
        return f"{self.namespace}:control"


def due_member(session_id: str, job_id: str) -> str:
    """A job's entry in `due` and `dead`. Neither id contains a slash."""
    return f"{session_id}/{job_id}"


def parse_due_member(member: bytes | str) -> tuple[str, str]:
    """(session id, job id) of an entry of `due` or `dead`."""
    text = member.decode() if isinstance(member, bytes) else member
    session_id, _, job_id = text.partition("/")
    return session_id, job_id
