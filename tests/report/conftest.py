"""What tests of pages start from: the finished run of tests of prediction."""

from tests.predict.conftest import home

__all__ = ["home"]
