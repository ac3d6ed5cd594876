"""Cores and memory that control groups leave, in folders laid out as Linux lays them out."""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from core import resources
from core.resources import available_bytes, available_cores
from recipe import Features
from recipe.cli import resolve_n_jobs
from tests.make_commands import ROOT
from tests.train.store_factories import write_small_store
from train.data.frame_bank import load_frame_bank

GIB = 1 << 30
N_CORES, FREE_BYTES = 64, 256 * GIB
"""Of the machine, in these tests."""

WriteCgroups = Callable[[str, dict[str, str]], None]


@pytest.fixture
def write_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteCgroups:
    """Write /proc/self/cgroup, and files below /sys/fs/cgroup by their paths there."""
    monkeypatch.setattr(resources, "CGROUP_MOUNT", tmp_path / "cgroup")
    monkeypatch.setattr(resources, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(N_CORES), raising=False)
    memory = psutil.virtual_memory()._replace(available=FREE_BYTES)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)

    def write(own: str, files: dict[str, str]) -> None:
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


def v2(quota: str, limit: str, used: int = 0, inactive_file: int = 0, group: str = "") -> dict[str, str]:
    """A group's files of version 2."""
    stat = f"anon 4096\nfile 8192\ninactive_file {inactive_file}\nactive_file 1\n"
    files = {"cpu.max": f"{quota} 100000\n", "memory.max": f"{limit}\n", "memory.current": f"{used}\n"}
    return {f"{group}{name}": content for name, content in (files | {"memory.stat": stat}).items()}


def v1(quota: int, limit: int, used: int = 0, inactive_file: int = 0, group: str = "") -> dict[str, str]:
    """A group's files of version 1; the parts of memory.stat that are its own alone are of no use here."""
    stat = f"cache 1\ninactive_file 7\ntotal_cache 2\ntotal_inactive_file {inactive_file}\n"
    return {
        f"cpu/{group}cpu.cfs_quota_us": f"{quota}\n",
        f"cpu/{group}cpu.cfs_period_us": "100000\n",
        f"memory/{group}memory.limit_in_bytes": f"{limit}\n",
        f"memory/{group}memory.usage_in_bytes": f"{used}\n",
        f"memory/{group}memory.stat": stat,
    }


@pytest.mark.parametrize(
    ("quota_us", "n_cores"), [(1_000, 1), (100_000, 1), (150_000, 2), (200_000, 2), (200_001, 3), (10**9, N_CORES)]
)
def test_a_part_of_a_core_s_time_is_a_core(write_cgroups: WriteCgroups, quota_us: int, n_cores: int) -> None:
    write_cgroups("0::/\n", v2(str(quota_us), "max"))
    assert available_cores() == n_cores
    assert (resolve_n_jobs(-1), resolve_n_jobs(5)) == (n_cores, 5)


def test_memory_left_is_the_limit_less_what_is_used_and_not_freed_at_once(write_cgroups: WriteCgroups) -> None:
    write_cgroups("0::/\n", v2("max", str(8 * GIB), used=3 * GIB, inactive_file=GIB))
    assert (available_cores(), available_bytes()) == (N_CORES, 6 * GIB)


def test_a_group_that_passes_its_limit_has_nothing_left(write_cgroups: WriteCgroups) -> None:
    write_cgroups("0::/\n", v2("max", str(GIB), used=2 * GIB))
    assert available_bytes() == 0


def test_what_the_machine_has_is_not_passed(write_cgroups: WriteCgroups) -> None:
    write_cgroups("0::/\n", v2("99000000", str(999 * GIB)))
    assert (available_cores(), available_bytes()) == (N_CORES, FREE_BYTES)


def test_the_group_of_the_process_counts_alone(write_cgroups: WriteCgroups) -> None:
    own = "0::/jobs.slice/job-7.scope\n"
    write_cgroups(own, v2("100000", str(GIB), group="jobs.slice/job-8.scope/"))
    write_cgroups(own, v2("max", "max", group="jobs.slice/job-7.scope/"))
    assert (available_cores(), available_bytes()) == (N_CORES, FREE_BYTES)
    write_cgroups(own, v2("300000", str(4 * GIB), group="jobs.slice/job-7.scope/"))
    assert (available_cores(), available_bytes()) == (3, 4 * GIB)


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit_of_a_group_above_counts(write_cgroups: WriteCgroups, version: int) -> None:
    task, job = "slurm/job_7/step_0/task_0/", "slurm/job_7/"
    if version == 2:
        limits = v2("200000", str(4 * GIB), used=GIB, group=job) | v2("max", "max", group=task)
        write_cgroups(f"0::/{task}\n", limits)
    else:
        limits = v1(200_000, 4 * GIB, used=GIB, group=job) | v1(-1, 1 << 62, group=task)
        write_cgroups(f"2:memory:/{task}\n1:cpu,cpuacct:/{task}\n", limits)
    assert (available_cores(), available_bytes()) == (2, 3 * GIB)


@pytest.mark.parametrize("own", ["0::/system.slice/docker-1f2e.scope\n", "0::/\n", "0::/../../elsewhere\n", ""])
def test_in_a_container_the_mount_s_root_is_the_group(write_cgroups: WriteCgroups, own: str) -> None:
    write_cgroups(own, v2("250000", str(2 * GIB), used=GIB))
    assert (available_cores(), available_bytes()) == (3, GIB)


def test_ulimit_leaves_what_is_not_allocated_yet(write_cgroups: WriteCgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cgroups("", {})
    limits = {resource.RLIMIT_AS: resource.RLIM_INFINITY, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda name: (limits[name], resource.RLIM_INFINITY))
    assert available_bytes() == FREE_BYTES
    for name in limits:
        limits[name] = 100 * GIB
        assert 80 * GIB < available_bytes() < 100 * GIB
        limits[name] = 1
        assert available_bytes() == 0
        limits[name] = resource.RLIM_INFINITY


V1_OWN = "12:cpu,cpuacct:/docker/1f2e\n7:memory:/docker/1f2e\n1:name=systemd:/elsewhere\n0::/elsewhere\n"
V1_UNLIMITED = (1 << 63) - 4096


@pytest.mark.parametrize("group", ["", "docker/1f2e/"])
def test_version_1_counts_in_a_container_and_out_of_it(write_cgroups: WriteCgroups, group: str) -> None:
    write_cgroups(V1_OWN, v1(-1, V1_UNLIMITED, used=99 * GIB, group=group))
    assert (available_cores(), available_bytes()) == (N_CORES, FREE_BYTES)
    write_cgroups(V1_OWN, v1(350_000, 5 * GIB, used=2 * GIB, inactive_file=GIB, group=group))
    assert (available_cores(), available_bytes()) == (4, 4 * GIB)


@pytest.mark.parametrize("odd", ["", "max", "-5", "0", "0 0", "1.5 x", "1 2 3", "\x00\x01", "a:b:c"])
def test_odd_files_limit_nothing(write_cgroups: WriteCgroups, odd: str) -> None:
    write_cgroups(f"{odd}\n0::/a", dict.fromkeys([f"a/{name}" for name in v2("", "")], odd))
    assert (available_cores(), available_bytes()) == (N_CORES, FREE_BYTES)


def test_frames_that_pass_a_container_s_memory_are_read_from_the_file(
    write_cgroups: WriteCgroups, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_small_store(tmp_path / "features.h5", {("a", 0): 100})
    for limit, line in ((2_000, ""), (1_000, "7e-07 GB for them in host memory: read from the file in extents\n")):
        write_cgroups("0::/\n", v2("max", str(limit)))
        frame_bank = load_frame_bank(tmp_path / "features.h5", Features(), ["a"], "cpu")
        assert frame_bank.frames.nbytes == 1_200
        assert capsys.readouterr().err.endswith(line)
        assert frame_bank.offloaded == bool(line)


def test_cores_are_counted_without_what_takes_long_to_import() -> None:
    slow = {"joblib", "pandas", "psutil", "torch"}
    code = f"import sys; from core import resources; resources.available_cores(); print({slow} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


FREE_BELOW_ONE_BLOCK = """
import ctypes, resource
from core.resources import trim_heap
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(100_000) for _ in range(1_000)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one keeps the heap from shrinking by itself
    libc.free(block)
def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
before_mb = resident_mb()
trim_heap()
print(before_mb - resident_mb())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="C's library is not glibc")
def test_freed_memory_goes_back_to_the_system() -> None:
    command, thresholds = (
        [sys.executable, "-c", FREE_BELOW_ONE_BLOCK],
        ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"),
    )
    environment = os.environ | dict.fromkeys(thresholds, str(GIB))
    returned_mb = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert 90 < float(returned_mb) < 110
