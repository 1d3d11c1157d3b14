"""The queues of a worker's own system: several may share a broker."""

from typing import Any

from palaver.shared.names import DEFAULT_NAMESPACE, queue_name

__all__ = ["own_queue"]


def own_queue(app: Any, queue: str) -> str:
    """The name on the broker of one of Palaver's queues, in the namespace of this Celery application."""
    return queue_name(queue, app.conf.get("palaver_namespace") or DEFAULT_NAMESPACE)
