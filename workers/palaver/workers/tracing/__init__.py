"""Traces of what a worker does, for OpenTelemetry; nothing of it is imported unless they are switched on."""

from palaver.workers.tracing.tracing import Tracing, tracing_of

__all__ = ["Tracing", "tracing_of"]
