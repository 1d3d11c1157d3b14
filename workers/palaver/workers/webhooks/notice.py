"""What a webhook is told, by the rules of Standard Webhooks (https://www.standardwebhooks.com)."""

import base64
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from palaver.shared.batches import BatchView, errors_name, output_name
from palaver.shared.ledger import JobView

__all__ = ["body_of", "body_of_batch", "headers_for"]


def body_of(view: JobView, metadata: object) -> bytes:
    """The body for an ended job: type `job.STATUS`, when it ended, and what came of it.

    `data.response` is a ChatResponse, null of a job that no worker ended: then `data.text` is what it had
    said by then. `data.error` is an ErrorInfo; null of a completed one.
    """
    ended = datetime.fromtimestamp(view.ended or 0, UTC)
    response, error = (
        None if raw is None else orjson.Fragment(raw) for raw in (view.response_json, view.error_json)
    )
    return orjson.dumps(
        {
            "type": f"job.{view.status}",
            "timestamp": ended.isoformat(timespec="milliseconds"),
            "data": {
                "job_id": view.job_id,
                "session_id": view.session_id,
                "status": str(view.status),
                "response": response,
                "error": error,
                "text": view.text or None,
                "metadata": metadata,
            },
        }
    )


def body_of_batch(view: BatchView) -> bytes:
    """The body for an ended batch: type `batch.STATUS`, when it ended, and how far it came: `data` is a
    BatchView, with the names of the objects in the file store that hold what came of the lines.
    """
    ended = datetime.fromtimestamp(view.ended_at or 0, UTC)
    batch_id = view.batch.batch_id
    told = view.model_dump(mode="json", exclude={"webhook": True, "batch": {"webhook", "idempotency_key"}})
    files = {"output": output_name(batch_id), "errors": errors_name(batch_id)} if view.stored else {}
    return orjson.dumps(
        {
            "type": f"batch.{view.status}",
            "timestamp": ended.isoformat(timespec="milliseconds"),
            "data": {"batch_id": batch_id, **told, "files": files},
        }
    )


def headers_for(job_id: str, body: bytes, *, secrets: Sequence[bytes], now: float) -> dict[str, str]:
    """The headers of a try that is made now (Unix time). The id is the same in every try, so that a receiver
    knows what it has got already; there is one signature for each secret, so that they can be changed.
    """
    signed = b".".join((job_id.encode(), f"{now:.0f}".encode(), body))
    signatures = (base64.b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets)
    return {
        "content-type": "application/json",
        "webhook-id": job_id,
        "webhook-timestamp": f"{now:.0f}",
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
