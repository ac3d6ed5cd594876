"""What tests of pages start from: the finished run of tests of prediction."""

from tests.predict.conftest import tiny_run

__all__ = ["tiny_run"]
