"""`manage.py palaver_worker`: a worker that serves the agents of the project."""

import os
import sys
from argparse import REMAINDER
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from palaver.producer.django import configuration
from palaver.shared.errors import PalaverError

# Started, never imported: producers and workers are installed and deployed apart.
WORKER = (sys.executable, "-m", "palaver.workers")


class Command(BaseCommand):
    """Replaces this process by a worker, as `palaver worker` does."""

    help = "Run a Palaver worker with the agents of DJANGO_AI_CHAT_URLS. Options are those of celery worker."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what Celery's worker takes."""
        parser.add_argument("options", nargs=REMAINDER, help="after --: --concurrency 500 …")

    def handle(self, *_: Any, **options: Any) -> None:
        """Be a worker."""
        try:
            os.environ.update(configuration.of_workers())
        except PalaverError as error:
            raise CommandError(str(error)) from None
        words = [word for word in options["options"] if word != "--"]
        os.execv(WORKER[0], [*WORKER, *words])  # noqa: S606 - our own interpreter
