"""The command line `radar`."""


def main() -> None:
    """Run the command line."""
