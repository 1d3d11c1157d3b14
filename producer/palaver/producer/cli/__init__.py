"""The `palaver` command."""

from palaver.producer.cli.entry import main

__all__ = ["main"]
