"""The command line in a folder of its own."""

from tests.cli.conftest import book, errata

__all__ = ["book", "errata"]
