"""The worker pool: one event loop for a whole Celery worker process."""

from palaver.workers.pool.pool import AsyncPool, Resident

__all__ = ["AsyncPool", "Resident"]
