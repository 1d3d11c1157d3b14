"""Batches: lines that are claimed from the ledger, and answered as jobs are. See README.md."""

from palaver.workers.batches.driver import Parts
from palaver.workers.batches.drivers import Drivers
from palaver.workers.batches.lines import Lines
from palaver.workers.batches.removing import Removing
from palaver.workers.batches.room import Room

__all__ = ["Drivers", "Lines", "Parts", "Removing", "Room"]
