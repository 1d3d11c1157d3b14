"""Webhooks: what became of a job is told to an address that the job names, until somebody takes it.

`deliverer` finds the jobs whose end is to be told and when it is tried again, `notice` is what is said and
how it is signed, `calls` makes the request and keeps it out of one's own network.
"""

from palaver.workers.webhooks.calls import Calls
from palaver.workers.webhooks.deliverer import Deliverer

__all__ = ["Calls", "Deliverer"]
