"""Results of a batch in the format of OpenAI's output and error files: one JSON object a line.

https://platform.openai.com/docs/api-reference/batch/request-output
"""

from typing import Any

import orjson

from palaver.shared.batches import BatchResult, line_id
from palaver.shared.errors import ErrorInfo, JobExpiredError, PalaverError
from palaver.shared.jobs import FinishReason
from palaver.shared.messages import ToolCall
from palaver.shared.responses import ChatResponse, Usage

_EXPIRED = "This request could not be executed before the completion window expired."


def output_line(batch_id: str, created: float, result: BatchResult) -> bytes:
    """A result's line: of an answer in output.jsonl, of a failure in errors.jsonl; ends with a newline.

    `created` is the batch's, so that a line is the same whenever it is written.
    """
    name, response = line_id(batch_id, result.index), result.response
    info = response.error_info
    if not response.success and info is not None and info.code == JobExpiredError.code:
        return _line(name, result.custom_id, None, {"code": "batch_expired", "message": _EXPIRED})
    body = _completion(name, int(created), response) if response.success else {"error": _error(response)}
    status = 200 if response.success else (info.http_status if info else 500)
    return _line(name, result.custom_id, {"status_code": status, "request_id": name, "body": body}, None)


def invalid_line(number: int, custom_id: str | None, problem: PalaverError) -> bytes:
    """The line in errors.jsonl of an input line (counted from 1) that was left out; ends with a newline."""
    error = {"code": problem.code, "message": problem.message, "param": problem.param, "line": number}
    return _line(f"line-{number}", custom_id, None, error)


def _line(name: str, custom_id: str | None, response: Any, error: Any) -> bytes:
    fields = {"id": f"batch_req_{name}", "custom_id": custom_id, "response": response, "error": error}
    return orjson.dumps(fields) + b"\n"


def _completion(name: str, created: int, response: ChatResponse) -> dict[str, Any]:
    others = [ChatResponse.validated(other) for other in response.metadata.get("choices") or ()]
    body = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": created,
        "model": response.model,
        "choices": [_choice(index, choice) for index, choice in enumerate([response, *others])],
    }
    return body if response.usage is None else {**body, "usage": _usage(response.usage)}


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
        message["tool_calls"] = [_tool_call(call) for call in response.tool_calls]
    return message


def _tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = call.arguments
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": text}}


def _usage(usage: Usage) -> dict[str, Any]:
    counts = {
        "prompt_tokens": usage.input_tokens or 0,
        "completion_tokens": usage.output_tokens or 0,
        "total_tokens": usage.total_tokens or 0,
    }
    return {**usage.details, **counts}


def _error(response: ChatResponse) -> dict[str, Any]:
    info = response.error_info or ErrorInfo.of(PalaverError(response.error))
    return {"message": info.message, "type": info.type, "param": info.param, "code": info.code}
