"""Files of jobs: who has them gets their text here."""

from palaver.workers.files.texts import FileTexts

__all__ = ["FileTexts"]
