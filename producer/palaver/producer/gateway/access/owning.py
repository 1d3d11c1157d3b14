"""Is this his? What is another tenant's answers exactly as what never was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from palaver.producer.gateway.access.caller import Caller
from palaver.producer.gateway.state import Gateway
from palaver.shared.batches import BatchView
from palaver.shared.errors import BatchNotFoundError, JobNotFoundError, SessionNotFoundError
from palaver.shared.ids import check_job_id, check_session_id
from palaver.shared.ledger import JobView, operations
from palaver.shared.ledger.operations import SessionOwner
from palaver.shared.sessions import unknown_session


async def check_session(gateway: Gateway, caller: Caller, session_id: str) -> None:
    """Raises SessionNotFoundError for a session that is not the caller's."""
    check_session_id(session_id)
    if (await lost_sessions(gateway, [(caller, session_id)]))[0]:
        raise unknown_session(session_id)


async def lost_sessions(gateway: Gateway, asked: Sequence[tuple[Caller, str]]) -> list[bool]:
    """Of each session whether it is not, or no more, the caller's beside it."""
    ids = list(dict.fromkeys(session_id for _, session_id in asked))
    owners = dict(zip(ids, await _owners(gateway, ids), strict=True))
    return [
        not (_is_his(caller, owners[session_id]) or await _is_archived(gateway, caller, owners, session_id))
        for caller, session_id in asked
    ]


async def own_job(gateway: Gateway, caller: Caller, job_id: str, *, document: bool = False) -> JobView:
    """A job of the caller's. Raises JobNotFoundError."""
    check_job_id(job_id)
    session_id = await gateway.client.ledger.find(job_id)
    if session_id is None or not _is_his(caller, (await _owners(gateway, [session_id]))[0]):
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


async def _owners(gateway: Gateway, session_ids: Sequence[str]) -> list[SessionOwner]:
    ledger = gateway.client.ledger
    return await ledger.query(operations.session_owners(ledger.keys, session_ids))


def _is_his(caller: Caller, owner: SessionOwner) -> bool:
    if not owner.exists or owner.tenant != caller.tenant:
        return False
    if caller.reads is not None:
        return caller.reads.born in (None, owner.born)
    is_users = owner.is_conversation or caller.is_held_to_user
    return not is_users or owner.user == caller.user


async def _is_archived(
    gateway: Gateway, caller: Caller, owners: Mapping[str, SessionOwner], session_id: str
) -> bool:
    """Whether it is a conversation of his that the ledger has forgotten."""
    if owners[session_id].exists or caller.reads is not None or not is_uuid(session_id):
        return False
    try:
        await gateway.conversations.session(session_id, **caller.whose)
    except SessionNotFoundError:
        return False
    return True
