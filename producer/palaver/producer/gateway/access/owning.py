"""Is this his? What is another tenant's answers exactly as what never was."""

from __future__ import annotations

from uuid import UUID

from palaver.producer.gateway.access.caller import Caller
from palaver.producer.gateway.state import Gateway
from palaver.shared.batches import BatchView
from palaver.shared.errors import BatchNotFoundError, JobNotFoundError, SessionNotFoundError
from palaver.shared.ids import check_job_id, check_session_id
from palaver.shared.ledger import JobView, operations
from palaver.shared.ledger.operations import SessionOwner


async def check_session(gateway: Gateway, caller: Caller, session_id: str) -> None:
    """Raises SessionNotFoundError for a session that is not the caller's."""
    check_session_id(session_id)
    if caller.reads == session_id:
        return
    owner = await _owner(gateway, session_id)
    if not _is_his(caller, owner):
        if not owner.exists and is_uuid(session_id):  # perhaps the archive still has it
            await gateway.conversations.session(session_id, **caller.whose)
            return
        raise unknown_session(session_id)


async def check_new_job(gateway: Gateway, caller: Caller, session_id: str) -> None:
    """Raises SessionNotFoundError if the session is another's; it may be a new one."""
    check_session_id(session_id)
    owner = await _owner(gateway, session_id)
    if owner.exists and not _is_his(caller, owner):
        raise unknown_session(session_id)


async def own_job(gateway: Gateway, caller: Caller, job_id: str, *, document: bool = False) -> JobView:
    """A job of the caller's. Raises JobNotFoundError."""
    check_job_id(job_id)
    session_id = await gateway.client.ledger.find(job_id)
    if session_id is None or not _is_his(caller, await _owner(gateway, session_id)):
        raise JobNotFoundError(f"There is no job {job_id}.", job_id=job_id)
    return await gateway.client.view(job_id, session_id, document=document)


async def own_batch(gateway: Gateway, caller: Caller, batch_id: str) -> BatchView:
    """A batch of the caller's. Raises BatchNotFoundError."""
    check_session_id(batch_id, param="batch_id")
    unknown = BatchNotFoundError(f"There is no batch {batch_id}.", param="batch_id")
    try:
        view = await gateway.client.ledger.batch(batch_id)
    except BatchNotFoundError:
        raise unknown from None
    if (view.batch.tenant, view.batch.user) != (caller.tenant, caller.user):
        raise unknown
    return view


def is_uuid(text: str) -> bool:
    """Whether it is the id of a conversation, by its looks."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def unknown_session(session_id: str) -> SessionNotFoundError:
    """The error for one that is not there, or is another's."""
    return SessionNotFoundError(f"There is no session {session_id}.", param="session_id")


async def _owner(gateway: Gateway, session_id: str) -> SessionOwner:
    ledger = gateway.client.ledger
    return await ledger.query(operations.session_owner(ledger.keys, session_id))


def _is_his(caller: Caller, owner: SessionOwner) -> bool:
    if not owner.exists or owner.tenant != caller.tenant:
        return False
    return not owner.is_conversation or owner.user == caller.user
