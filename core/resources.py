"""Cores and memory that this process may use, the machine's within ulimit's and its control groups' limits, and freed
memory given back.
"""

import ctypes
import os
import resource
from itertools import product
from pathlib import Path

CGROUP_MOUNT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
"""Lines number:controllers:path; version 2 names no controllers."""
MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""In versions 2 and 1: files of the limit and the usage, and memory.stat's key of what is freed on demand."""


def available_cores() -> int:
    """Cores of this process, at most its control groups' quotas of CPU time, rounded up."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _control_groups("cpu"):
        quota = _read(group / "cpu.max").split() or [_read(group / f"cpu.cfs_{key}_us") for key in ("quota", "period")]
        match [_number(text) for text in quota]:
            case [quota_us, period_us] if quota_us and period_us:
                n_cores = min(n_cores, -(-quota_us // period_us))
    return n_cores


def available_bytes() -> int:
    """The machine's free memory, at most what the limits of control groups and of `ulimit -d` and `-v` leave."""
    import psutil  # takes 30 ms, which scripts that only ask for cores save

    n_bytes = psutil.virtual_memory().available
    for group, (limit_file, usage_file, freed_key) in product(_control_groups("memory"), MEMORY_FILES):
        if limit := _number(_read(group / limit_file)):
            stat = _read(group / "memory.stat").split()
            freed = _number(dict(zip(stat[::2], stat[1::2], strict=False)).get(freed_key, ""))
            used = max(_number(_read(group / usage_file)) - freed, 0)
            n_bytes = min(n_bytes, max(limit - used, 0))
    memory = psutil.Process().memory_info()
    for limit_name, used in (("RLIMIT_AS", memory.vms), ("RLIMIT_DATA", getattr(memory, "data", 0))):
        limit = resource.getrlimit(getattr(resource, limit_name))[0]
        if limit != resource.RLIM_INFINITY:
            n_bytes = min(n_bytes, max(limit - used, 0))
    return n_bytes


def trim_heap() -> None:
    """Give memory that was freed back to the system, where C's library is one that can, glibc."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _control_groups(controller: str) -> list[Path]:
    """The folder of this process's control group, which a container may have as the mount's root, and those above it.

    Each of them may have limits: Slurm's are a job's, and a process is in a task of a step of it.
    """
    for line in _read(OWN_CGROUPS).splitlines():
        match line.split(":", 2):
            case [_, controllers, path] if not controllers or controller in controllers.split(","):
                mount = CGROUP_MOUNT / controller if controllers else CGROUP_MOUNT
                group = mount / path.lstrip("/")
                return [group, *group.parents] if group.is_dir() else [mount]
    return [CGROUP_MOUNT]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(text: str) -> int:
    """A number above 0, or 0 for "max" and any other text."""
    return int(text) if text.strip().isdecimal() else 0
