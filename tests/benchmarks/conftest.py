"""A trained run in miniature, for the benchmarks that want one."""

from tests.predict.conftest import home

__all__ = ["home"]
