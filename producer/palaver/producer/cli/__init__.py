"""The `palaver` command."""

from palaver.producer.cli.start import main

__all__ = ["main"]
