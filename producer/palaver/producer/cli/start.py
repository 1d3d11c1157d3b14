"""How a `palaver` process begins."""

from palaver.shared.collector import end_unsearched
from palaver.shared.first_process import end_when_told

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """See `entry.main`."""
    end_when_told()
    end_unsearched()
    from palaver.producer.cli import entry  # with its libraries, which take a while

    return entry.main(arguments)
