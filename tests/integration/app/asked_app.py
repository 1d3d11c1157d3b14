"""An application whose worker is asked how it is while it says goodbye to a broker."""

from typing import Any

from celery import Celery, bootsteps

from palaver.workers import install

app: Any = install(Celery("asked", set_as_current=False))


class Asks(bootsteps.StartStopStep):
    """Asks, as /readyz and the worker's announcement do at any time."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def stop(self, parent: Any) -> None:
        """A step of the goodbye."""
        for problem in parent.app.palaver_service.readiness.problems():
            print(f"asked meanwhile: {problem.told}")


app.steps["consumer"].add(Asks)
