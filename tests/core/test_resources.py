"""Cores and memory that control groups leave, in folders laid out as Linux lays them out."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from core import resources
from core.resources import available_bytes, usable_cores
from recipe import Features
from recipe.cli import count_jobs
from tests.train.stores import write_small_store
from tests.typed import ROOT
from train.data.frame_bank import load_memory
from train.loop.parallel_folds import count_at_once

MIB = 1 << 20
GIB = 1 << 30
N_CORES, FREE_BYTES = 64, 256 * GIB
"""Of the machine, in these tests."""

Lay = Callable[[str, dict[str, str]], None]


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lay:
    """Write /proc/self/cgroup, and files below /sys/fs/cgroup by their paths there."""
    monkeypatch.setattr(resources, "MOUNT", tmp_path / "cgroup")
    monkeypatch.setattr(resources, "OWN_GROUPS", tmp_path / "own")
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
def test_a_part_of_a_core_s_time_is_a_core(lay: Lay, quota_us: int, n_cores: int) -> None:
    lay("0::/\n", v2(str(quota_us), "max"))
    assert usable_cores() == n_cores
    assert (count_jobs(-1), count_jobs(5)) == (n_cores, 5)


def test_memory_left_is_the_limit_less_what_is_used_and_not_freed_at_once(lay: Lay) -> None:
    lay("0::/\n", v2("max", str(8 * GIB), used=3 * GIB, inactive_file=GIB))
    assert (usable_cores(), available_bytes()) == (N_CORES, 6 * GIB)


def test_a_group_that_passes_its_limit_has_nothing_left(lay: Lay) -> None:
    lay("0::/\n", v2("max", str(GIB), used=2 * GIB))
    assert available_bytes() == 0


def test_what_the_machine_has_is_not_passed(lay: Lay) -> None:
    lay("0::/\n", v2("99000000", str(999 * GIB)))
    assert (usable_cores(), available_bytes()) == (N_CORES, FREE_BYTES)


@pytest.mark.parametrize("tight", ["", "jobs.slice/", "jobs.slice/job-7.scope/"])
def test_the_tightest_of_a_group_and_those_above_it_counts(lay: Lay, tight: str) -> None:
    lay("0::/jobs.slice/job-7.scope\n", v2("max", "max", group="jobs.slice/job-7.scope/"))
    lay("0::/jobs.slice/job-7.scope\n", v2("1600000", str(16 * GIB), group="jobs.slice/"))
    lay("0::/jobs.slice/job-7.scope\n", v2("300000", str(4 * GIB), group=tight))
    assert (usable_cores(), available_bytes()) == (3, 4 * GIB)


def test_groups_of_others_limit_nothing(lay: Lay) -> None:
    lay("0::/jobs.slice/job-7.scope\n", v2("100000", str(GIB), group="jobs.slice/job-8.scope/"))
    assert (usable_cores(), available_bytes()) == (N_CORES, FREE_BYTES)


@pytest.mark.parametrize("own", ["0::/system.slice/docker-1f2e.scope\n", "0::/\n", "0::/../../elsewhere\n", ""])
def test_in_a_container_the_mount_s_root_is_the_group(lay: Lay, own: str) -> None:
    lay(own, v2("250000", str(2 * GIB), used=GIB))
    assert (usable_cores(), available_bytes()) == (3, GIB)


V1_OWN = "12:cpu,cpuacct:{0}\n7:memory:{0}\n1:name=systemd:/elsewhere\n0::/elsewhere\n"
V1_UNLIMITED = (1 << 63) - 4096


@pytest.mark.parametrize("group", ["", "docker/1f2e/"])
def test_version_1_counts_as_well_in_a_container_and_out_of_it(lay: Lay, group: str) -> None:
    lay(V1_OWN.format("/docker/1f2e"), v1(-1, V1_UNLIMITED, used=99 * GIB))
    lay(V1_OWN.format("/docker/1f2e"), v1(350_000, 5 * GIB, used=2 * GIB, inactive_file=GIB, group=group))
    assert (usable_cores(), available_bytes()) == (4, 4 * GIB)


def test_version_1_may_limit_nothing(lay: Lay) -> None:
    lay(V1_OWN.format("/"), v1(-1, V1_UNLIMITED, used=99 * GIB))
    assert (usable_cores(), available_bytes()) == (N_CORES, FREE_BYTES)


def test_a_folder_is_found_by_all_its_controllers_names(lay: Lay) -> None:
    files = {"cpu.cfs_quota_us": "200000", "cpu.cfs_period_us": "100000"}
    lay(V1_OWN.format("/a"), {f"cpu,cpuacct/a/{name}": content for name, content in files.items()})
    assert usable_cores() == 2


@pytest.mark.parametrize("odd", ["", "max", "-5", "0", "0 0", "1.5 x", "9" * 5_000, "1 2 3", "\x00\x01", "a:b:c"])
def test_odd_files_limit_nothing(lay: Lay, odd: str) -> None:
    names = [f"{group}{name}" for group in ("", "a/") for name in [*v2("", ""), *v1(0, 0)]]
    lay(f"{odd}\n0::/a\n4:memory:/a\n3:cpu\n0::/\x00", dict.fromkeys(names, odd))
    assert (usable_cores(), available_bytes()) == (N_CORES, FREE_BYTES)


def test_a_limit_without_its_usage_is_still_a_limit(lay: Lay) -> None:
    lay("0::/\n", {"memory.max": str(GIB)})
    assert available_bytes() == GIB


def test_where_there_are_no_control_groups_the_machine_is_all_there_is(lay: Lay, tmp_path: Path) -> None:
    assert not list(tmp_path.iterdir())
    assert (usable_cores(), available_bytes()) == (N_CORES, FREE_BYTES)


def test_frames_that_pass_a_container_s_memory_are_read_from_the_file(
    lay: Lay, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_small_store(tmp_path / "features.h5", {("a", 0): 100})
    for limit, line in ((2_000, ""), (1_000, "7e-07 GB for them in host memory: read from the file\n")):
        lay("0::/\n", v2("max", str(limit)))
        memory = load_memory(tmp_path / "features.h5", Features(), ["a"], "cpu")
        assert memory.frames.nbytes == 1_200
        assert capsys.readouterr().err.endswith(line)
        assert memory.remote == bool(line)


def test_as_many_networks_are_trained_at_once_as_a_container_has_memory_for(lay: Lay) -> None:
    material = SimpleNamespace(memory=SimpleNamespace(frames=torch.zeros(MIB, dtype=torch.uint8)))
    jobs: list[Any] = [SimpleNamespace(device=torch.device("cpu"), material=material)] * 9
    for limit, n_networks in ((10 * MIB, 7), (3 * MIB, 2), (MIB, 1)):
        lay("0::/\n", v2("max", str(limit)))
        assert count_at_once(8, jobs) == n_networks


def test_cores_are_counted_without_what_takes_long_to_import() -> None:
    slow = {"joblib", "pandas", "psutil", "torch"}
    code = f"import sys; from core import resources; resources.usable_cores(); print({slow} & sys.modules.keys())"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
