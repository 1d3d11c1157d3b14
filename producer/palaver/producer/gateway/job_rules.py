"""What a job asks for, against the key by which it comes; pure."""

from __future__ import annotations

from palaver.producer.gateway.access.caller import Caller
from palaver.producer.gateway.extra_rules import check_params
from palaver.producer.gateway.marks import check_metadata
from palaver.producer.gateway.shapes import Json
from palaver.producer.gateway.tool_rules import check_tools
from palaver.shared.jobs import ChatJob


def allowed_fields(caller: Caller, fields: Json) -> Json:
    """The fields of a job that this caller wants made, with his priority where he names none.

    Raises ForbiddenError and ValidationError for what he may not have done, or not say.
    """
    check_metadata(fields.get("metadata"))
    model = fields.get("model")
    caller.check_models([model] if isinstance(model, str) else model or [])
    caller.check_agent(fields.get("agent"))
    check_tools(fields.get("tools"), caller.key)
    check_params(fields.get("params"), caller.key)
    return {**fields, "priority": caller.priority(fields.get("priority"))}


def allowed(caller: Caller, job: ChatJob) -> ChatJob:
    """The same of a job that is made already, whoever made it: what its metadata says is not looked at."""
    named = job.priority if "priority" in job.model_fields_set else None
    asked = {"agent": job.agent, "params": {"extra": job.params.extra}, "priority": named}
    fields = allowed_fields(caller, {"model": job.models, "tools": job.tools, **asked})
    priority = fields["priority"]
    return job if priority == job.priority else job.model_copy(update={"priority": priority})
