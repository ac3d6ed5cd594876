"""A full disk under HDF5: an OSError, and no crash."""

import subprocess
import sys
from pathlib import Path

import pytest

from preprocess.store.writer import DeferredErrorFile

ROOT = Path(__file__).parents[3]
WRITE = """
import h5py, numpy, pathlib, resource, sys
from preprocess.store.writer import DeferredErrorFile
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
with DeferredErrorFile(pathlib.Path(sys.argv[1])) as raw_file:
    with h5py.File(raw_file, "w") as file:
        file["zeros"] = numpy.zeros(50_000)
        file.attrs["text"] = "a" * 1000
    raw_file.raise_deferred()
"""


@pytest.mark.parametrize("n_bytes", [0, 100, 4_000, 100_000])
def test_hdf5_does_not_crash_where_the_disk_is_full(tmp_path: Path, n_bytes: int) -> None:
    command = [sys.executable, "-c", WRITE, str(tmp_path / "file.h5"), str(n_bytes)]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "OSError: [Errno 27] File too large"


def test_errors_are_remembered_and_nothing_is_written_after_them(tmp_path: Path) -> None:
    with DeferredErrorFile(tmp_path / "file") as raw_file:
        assert raw_file.write(memoryview(b"abc")) == 3
        raw_file.raise_deferred()
        assert raw_file.truncate(-1) == -1
        assert raw_file.write(memoryview(b"def")) == 3
        with pytest.raises(OSError, match="Invalid argument"):
            raw_file.raise_deferred()
    assert (tmp_path / "file").read_bytes() == b"abc"
