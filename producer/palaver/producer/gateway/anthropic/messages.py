"""`POST /v1/messages`, and how many tokens one would have."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from palaver.producer.gateway.access.caller import Asking
from palaver.producer.gateway.answers import ESTIMATED, job_headers, json_response
from palaver.producer.gateway.anthropic import request
from palaver.producer.gateway.anthropic.answer import PATH, PING, MessageDialect, message
from palaver.producer.gateway.anthropic.body import CountRequest, MessagesRequest
from palaver.producer.gateway.asking import Job, check_model, nobody_waits
from palaver.producer.gateway.places import renamed
from palaver.producer.gateway.routing import counted_router
from palaver.producer.gateway.state import Served
from palaver.shared.beside import beside
from palaver.shared.jobs import ChatJob
from palaver.shared.token_estimate import prompt_tokens


class AnthropicError(BaseModel):
    """What went wrong."""

    type: str
    message: str


class AnthropicErrorBody(BaseModel):
    """The body of an answer that is an error."""

    type: str = "error"
    error: AnthropicError


class TokenCount(BaseModel):
    """About how many tokens they are: no tokenizer is asked."""

    input_tokens: int


_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": AnthropicErrorBody, "description": "What is wrong with the request."},
    "5XX": {"model": AnthropicErrorBody, "description": "What failed."},
}

router = counted_router(tags=["Anthropic"], responses=_ERRORS)


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
        handle = await asker.submit(lambda: request.job_fields(body), body)
    if body.stream:
        dialect = MessageDialect(handle.job_id)
        return await asker.stream(handle, dialect, model=body.model, keep_alive=PING)
    response = await asker.whole(handle)
    if response is None:
        return nobody_waits()
    return json_response(message(handle.job_id, body.model, response), headers=job_headers(handle))


@router.post(f"{PATH}/count_tokens", response_model=TokenCount)
async def count_tokens(gateway: Served, caller: Asking, body: CountRequest) -> Response:
    """Estimate how many tokens a prompt has: too many rather than too few."""
    await check_model(gateway, caller, body.model)
    with renamed(request.place):
        tokens = await beside(lambda: prompt_tokens(ChatJob.validated(request.prompt_fields(body))), body)
    return json_response(TokenCount(input_tokens=tokens), headers=ESTIMATED)
