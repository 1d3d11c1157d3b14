"""An application of one's own whose tasks are in a quorum queue of one's own, and our workers serve both."""

import logging

from celery import Celery
from kombu import Exchange, Queue

from palaver.shared.settings import Settings
from palaver.workers.app import install

app = install(Celery("own", set_as_current=False))
app.conf.update(
    broker_url=Settings.load().broker_url,
    task_queues=[
        Queue(
            "own",
            Exchange("own", type="topic"),
            routing_key="own",
            queue_arguments={"x-queue-type": "quorum"},
        )
    ],
    task_default_queue="own",
    task_default_exchange="own",
    task_default_routing_key="own",
)


@app.task
def tell(what: str) -> None:
    logging.getLogger(__name__).warning("told %s", what)
