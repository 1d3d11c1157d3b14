"""Batches: lines that are claimed from the ledger, and answered as jobs are. See README.md."""

from palaver.workers.batches.driver import Parts
from palaver.workers.batches.drivers import Drivers
from palaver.workers.batches.lines import Lines
from palaver.workers.batches.room import Room

__all__ = ["Drivers", "Lines", "Parts", "Room"]
