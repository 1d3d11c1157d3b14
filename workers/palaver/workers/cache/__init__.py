"""Answers that are given twice. See README.md."""

from palaver.workers.cache.flights import Flights
from palaver.workers.cache.policy import Cache

__all__ = ["Cache", "Flights"]
