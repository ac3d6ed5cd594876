"""A trained run in miniature, for the benchmarks that want one."""

from tests.predict.conftest import home, one_thread

__all__ = ["home", "one_thread"]
