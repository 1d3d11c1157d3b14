"""What a job asks for, against the key by which it comes; pure."""

from __future__ import annotations

from palaver.producer.gateway.access.caller import Caller
from palaver.producer.gateway.extra_rules import check_extra
from palaver.producer.gateway.tool_rules import check_tools
from palaver.shared.jobs import ChatJob


def check_job(caller: Caller, job: ChatJob) -> None:
    """Raises ForbiddenError and ValidationError for a job that this caller may not have done, whoever made
    it.
    """
    caller.check_models(job.models)
    caller.check_agent(job.agent)
    caller.priority(job.priority if "priority" in job.model_fields_set else None)
    check_tools(job.tools, caller.key)
    check_extra(job.params.extra, caller.key)
