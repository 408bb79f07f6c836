"""Commands on a book of their own."""

from tests.cli.conftest import book, errata

__all__ = ["book", "errata"]
