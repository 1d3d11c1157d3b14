"""The palaver command."""


def main() -> None:
    """Run the palaver command."""
