"""`POST /v1/chat/completions`."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from palaver.producer import openai_body
from palaver.producer.gateway.answers import job_headers, json_response
from palaver.producer.gateway.asking import Job, nobody_waits
from palaver.producer.gateway.openai.chat_stream import ChatDialect
from palaver.producer.gateway.openai.errors import OPENAI_ERRORS
from palaver.producer.gateway.places import renamed
from palaver.producer.gateway.routing import counted_router
from palaver.producer.gateway.shapes import Open, TextOr
from palaver.shared.jobs import MAX_TOOLS
from palaver.shared.messages import Message
from palaver.shared.openai_answer import completion
from palaver.shared.plain import Flag, Integer, Items, JsonObject, JsonValue, Real, Text, refuse
from palaver.shared.tools import FunctionTool

router = counted_router(tags=["OpenAI"], responses=OPENAI_ERRORS)

_EXAMPLE: Final[dict[str, Any]] = {"messages": [{"role": "user", "content": "Hello"}]}


class StreamOptions(BaseModel):
    """What a stream tells beside the answer."""

    include_usage: Flag = False


class ChatRequest(Open):
    """As OpenAI's; fields that are not named here are sent to the provider as they are.

    `model` is `profile/model`, an alias, or left out: then the default answers.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    messages: Items[Message]
    model: Text | None = None
    stream: Flag | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[Integer, Field(ge=1, le=128)] | None = None
    tools: Annotated[Items[FunctionTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: JsonValue | None = None
    parallel_tool_calls: Flag | None = None
    response_format: JsonObject | None = None
    max_tokens: Integer | None = None
    max_completion_tokens: Integer | None = None
    temperature: Real | None = None
    top_p: Real | None = None
    presence_penalty: Real | None = None
    frequency_penalty: Real | None = None
    logit_bias: JsonObject | None = None
    stop: TextOr[Text] | None = None
    seed: Integer | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    logprobs: Flag | None = None
    metadata: JsonObject | None = None
    user: Text | None = None


@router.post(
    "/v1/chat/completions",
    responses={
        200: {
            "description": "The answer, or with `stream` its chunks.",
            "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
        }
    },
)
async def create_completion(asker: Job, body: ChatRequest) -> Response:
    """Answer a conversation."""
    if body.stream and body.n is not None and body.n > 1:
        refuse("n", "must be 1 in a stream: its chunks are of one answer")
    with renamed(openai_body.place):
        handle = await asker.submit(lambda: openai_body.job_fields(body.given()), body)
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        dialect = ChatDialect(handle.job_id, created=int(time.time()), usage=usage)
        return await asker.stream(handle, dialect, model=body.model or "default")
    response = await asker.whole(handle)
    if response is None:
        return nobody_waits()
    answer = completion(handle.job_id, int(time.time()), response, model=body.model or "default")
    return json_response(answer, headers=job_headers(handle))
