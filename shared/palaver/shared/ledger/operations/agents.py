"""What a session has for the agent that answers in it."""

from typing import Any

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Operation, text
from palaver.shared.ledger.operations.verdicts import accepted
from palaver.shared.ledger.replies import AgentSession
from palaver.shared.ledger.scripts import load


def keep_context(
    keys: Keys,
    session_id: str,
    job_id: str,
    *,
    fence: str,
    path: str,
    context: bytes = b"",
    make: bool = False,
) -> Operation[AgentSession]:
    """What the session has for the agent of this path. With a `context` the session keeps it as that agent's
    own, unless it has one: the first counts. With `make` the job is told to make one, if there is none and no
    other job that is held is at it.
    """

    def decode(raw: Any) -> AgentSession:
        reply = accepted(raw, job_id)
        return AgentSession(
            cancelled=text(reply[1]),
            user=text(reply[2]) or None,
            anonymous_id=text(reply[3]) or None,
            context=reply[4],
            own=reply[5],
            makes=bool(reply[6]),
        )

    args = (session_id, job_id, fence, path, context, "1" if make else "")
    return Operation(script=load("keep_context"), keys=(keys.base(session_id),), args=args, decode=decode)
