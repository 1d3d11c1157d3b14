"""Answers in the format of OpenAI's chat completions; pure.

https://platform.openai.com/docs/api-reference/chat/object
"""

from typing import Any

import orjson

from palaver.shared.jobs import FinishReason
from palaver.shared.messages import ToolCall
from palaver.shared.responses import ChatResponse, Usage


def completion(name: str, created: int, response: ChatResponse, *, model: str) -> dict[str, Any]:
    """A `chat.completion`, whose id is made of the name; `created` is Unix time in seconds, `model` one that
    can be asked for.
    """
    others = [ChatResponse.validated(other) for other in response.metadata.get("choices") or ()]
    body = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [_choice(index, choice) for index, choice in enumerate([response, *others])],
    }
    return body if response.usage is None else {**body, "usage": usage(response.usage)}


def _choice(index: int, answer: ChatResponse) -> dict[str, Any]:
    return {
        "index": index,
        "message": _message(answer),
        "logprobs": None,
        "finish_reason": answer.finish_reason or FinishReason.STOP,
    }


def _message(response: ChatResponse) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": response.content}
    if response.reasoning is not None:
        message["reasoning_content"] = response.reasoning
    if response.tool_calls:
        message["content"] = response.content or None
        message["tool_calls"] = [tool_call(call) for call in response.tool_calls]
    return message


def tool_call(call: ToolCall) -> dict[str, Any]:
    """A call of a tool, whose arguments are JSON text."""
    arguments = call.arguments
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": text}}


def usage(spent: Usage) -> dict[str, Any]:
    """The tokens, under their older names; what is unknown is 0."""
    counts = {
        "prompt_tokens": spent.input_tokens or 0,
        "completion_tokens": spent.output_tokens or 0,
        "total_tokens": spent.total_tokens or 0,
    }
    return {**spent.details, **counts}
