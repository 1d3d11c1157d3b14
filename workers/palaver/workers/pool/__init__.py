"""The worker pool: one event loop for a whole Celery worker process."""

from palaver.workers.pool.pool import AsyncPool
from palaver.workers.pool.residents import Resident

__all__ = ["AsyncPool", "Resident"]
