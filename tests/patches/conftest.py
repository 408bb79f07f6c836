"""The command line in a folder of its own, as the tests of other commands have it."""

from tests.cli.conftest import book, errata

__all__ = ["book", "errata"]
