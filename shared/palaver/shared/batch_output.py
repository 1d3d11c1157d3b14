"""Results of a batch in the format of OpenAI's output and error files: one JSON object a line.

https://platform.openai.com/docs/api-reference/batch/request-output
"""

from typing import Any

import orjson

from palaver.shared.batches import BatchResult, line_id
from palaver.shared.errors import ErrorInfo, JobExpiredError, PalaverError
from palaver.shared.openai_answer import completion
from palaver.shared.responses import ChatResponse

_EXPIRED = "This request could not be executed before the completion window expired."


def output_line(batch_id: str, created: float, result: BatchResult) -> bytes:
    """A result's line: of an answer in output.jsonl, of a failure in errors.jsonl; ends with a newline.

    `created` is the batch's, so that a line is the same whenever it is written.
    """
    name, response = line_id(batch_id, result.index), result.response
    info = response.error_info
    if not response.success and info is not None and info.code == JobExpiredError.code:
        return _line(name, result.custom_id, None, {"code": "batch_expired", "message": _EXPIRED})
    if response.success:
        body = completion(name, int(created), response, model=_model(response))
    else:
        body = {"error": _error(response)}
    status = 200 if response.success else (info.http_status if info else 500)
    return _line(name, result.custom_id, {"status_code": status, "request_id": name, "body": body}, None)


def invalid_line(number: int, custom_id: str | None, problem: PalaverError) -> bytes:
    """The line in errors.jsonl of an input line (counted from 1) that was left out; ends with a newline."""
    error = {"code": problem.code, "message": problem.message, "param": problem.param, "line": number}
    return _line(f"line-{number}", custom_id, None, error)


def _model(response: ChatResponse) -> str:
    """As it can be asked for."""
    return "/".join(name for name in (response.provider, response.model) if name)


def _line(name: str, custom_id: str | None, response: Any, error: Any) -> bytes:
    fields = {"id": f"batch_req_{name}", "custom_id": custom_id, "response": response, "error": error}
    return orjson.dumps(fields) + b"\n"


def _error(response: ChatResponse) -> dict[str, Any]:
    info = response.error_info or ErrorInfo.of(PalaverError(response.error))
    return {"message": info.message, "type": info.type, "param": info.param, "code": info.code}
