"""`/jobs`: what became of them; `/agents`: who may answer."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import Query
from starlette.responses import Response

from palaver.producer.gateway.access.caller import Asking
from palaver.producer.gateway.access.owning import check_session, own_job
from palaver.producer.gateway.answers import job_headers, json_response
from palaver.producer.gateway.fanout.frames import parse_cursor
from palaver.producer.gateway.job_rules import allowed
from palaver.producer.gateway.routing import counted_router
from palaver.producer.gateway.sessions.views import Accepted, Job, Listed, job_of
from palaver.producer.gateway.state import Served
from palaver.shared.jobs import Status

router = counted_router(tags=["jobs"])

_PAGE: Final = 100
_AT_ONCE: Final = 20
"""So many are asked for at a time: they come with their answers."""


@router.get("/jobs")
async def list_jobs(
    *,
    gateway: Served,
    caller: Asking,
    session: Annotated[str, Query(description="The session whose jobs are wanted.")],
    status: Annotated[Status | None, Query(description="Only those that are like this.")] = None,
    after: Annotated[str | None, Query(max_length=128, description="The `after` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=_PAGE)] = _PAGE,
    whole: Annotated[bool, Query(description="With what was answered.")] = False,
) -> Listed[Job]:
    """A session's jobs: those that have not ended, then the last hundred that have, the latest first."""
    await check_session(gateway, caller, session)
    ledger = gateway.client.ledger
    now = await ledger.snapshot(session, after=0)
    ids = [*now.jobs, *reversed(now.ended)]
    first = parse_cursor(after) or 0
    page, jobs = ids[first : first + limit], list[Job]()
    for start in range(0, len(page), _AT_ONCE):
        found = await ledger.snapshot(session, page[start : start + _AT_ONCE])
        jobs += [job_of(view, whole=whole) for view in found.jobs.values()]
    following = str(first + limit) if first + limit < len(ids) else None
    return Listed(items=[job for job in jobs if status in (None, job.status)], after=following)


@router.get("/jobs/{job_id}")
async def show_job(gateway: Served, caller: Asking, job_id: str) -> Job:
    """A job, with its answer or what there is of it."""
    return job_of(await own_job(gateway, caller, job_id), whole=True)


@router.delete("/jobs/{job_id}", status_code=202)
async def cancel_job(gateway: Served, caller: Asking, job_id: str) -> Job:
    """End a job. It is still `running` until its worker has ended it; an ended one stays what it is."""
    view = await own_job(gateway, caller, job_id)
    await (await gateway.client.job(job_id)).cancel()
    return job_of(await gateway.client.view(job_id, view.session_id))


@router.post("/jobs/{job_id}/retry", status_code=202, response_model=Accepted)
async def retry_job(gateway: Served, caller: Asking, job_id: str) -> Response:
    """Do an ended job again, as a new job of its session. Repeated, it names the same new job."""
    await own_job(gateway, caller, job_id)
    handle = await gateway.client.retry(job_id, allow=partial(allowed, caller))
    accepted = Accepted(job_id=handle.job_id, session_id=handle.session_id, cursor=handle.cursor)
    return json_response(accepted, status=202, headers=job_headers(handle))


@router.get("/agents", tags=["sessions"])
async def list_agents(gateway: Served, caller: Asking) -> Listed[str]:
    """The paths of the agents that live workers serve, and the key allows."""
    paths = await gateway.client.agents()
    return Listed(items=[path for path in paths if caller.key is None or caller.key.allows_agent(path)])
