"""`POST /v1/messages`."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from palaver.producer.gateway.answers import job_headers, json_response
from palaver.producer.gateway.anthropic import request
from palaver.producer.gateway.anthropic.answer import PATH, PING, MessageDialect, message
from palaver.producer.gateway.asking import Job, nobody_waits
from palaver.producer.gateway.counting import counted_router
from palaver.producer.gateway.openai.errors import renamed


class AnthropicError(BaseModel):
    """What went wrong."""

    type: str
    message: str


class AnthropicErrorBody(BaseModel):
    """The body of an answer that is an error."""

    type: str = "error"
    error: AnthropicError


_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": AnthropicErrorBody, "description": "What is wrong with the request."},
    "5XX": {"model": AnthropicErrorBody, "description": "What failed."},
}
_EXAMPLE: Final[dict[str, Any]] = {
    "model": "scripted/echo",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello"}],
}

router = counted_router(tags=["Anthropic"], responses=_ERRORS)


class MessagesRequest(BaseModel):
    """As Anthropic's; `model` is `profile/model` or an alias."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_EXAMPLE]})

    model: str
    max_tokens: int = Field(ge=1)
    messages: list[dict[str, Any]]
    stream: bool | None = None


@router.post(
    PATH,
    responses={
        200: {
            "description": "The answer, or with `stream` its events.",
            "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
        }
    },
)
async def create_message(asker: Job, body: MessagesRequest) -> Response:
    """Answer a conversation."""
    with renamed(request.place):
        fields = request.job_fields(body.model_dump(exclude_unset=True))
        handle = await asker.submit(fields.pop("messages"), fields)
    if body.stream:
        dialect = MessageDialect(handle.job_id)
        return await asker.stream(handle, dialect, model=body.model, keep_alive=PING)
    response = await asker.whole(handle)
    if response is None:
        return nobody_waits()
    return json_response(message(handle.job_id, response), headers=job_headers(handle))
