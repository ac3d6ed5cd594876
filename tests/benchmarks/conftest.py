"""A trained run in miniature, for the benchmarks that want one."""

from tests.predict.conftest import tiny_run

__all__ = ["tiny_run"]
