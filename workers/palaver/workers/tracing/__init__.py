"""Traces of what a worker does, for OpenTelemetry; nothing of it is imported unless they are switched on."""

from palaver.workers.tracing.tracing import Attempt, Tracing, tracing_of

__all__ = ["Attempt", "Tracing", "tracing_of"]
