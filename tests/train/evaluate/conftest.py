"""A trained run in miniature, for tests of how its windows are scored."""

from tests.predict.conftest import tiny_run

__all__ = ["tiny_run"]
