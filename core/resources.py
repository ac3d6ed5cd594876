"""Cores and memory that this process may use: the machine's, within the limits of its control group on Linux."""

import os
from pathlib import Path

CGROUP_MOUNT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
"""Lines of number, controllers (none in version 2) and path, separated by colons."""
MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""In versions 2 and 1: the limit, the usage, and the key in memory.stat of the part that is freed on demand."""


def available_cores() -> int:
    """Cores this process may run on, at most as many as the CPU time of its control group, rounded up."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    group = _control_group("cpu")
    quota = _read(group / "cpu.max").split() or [_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    match [_number(text) for text in quota]:
        case [quota_us, period_us] if quota_us and period_us:
            return min(n_cores, -(-quota_us // period_us))
    return n_cores


def available_bytes() -> int:
    """Memory that the machine has free, at most what is left of the limit of this process's control group."""
    import psutil  # 30 ms, for which scripts that ask for cores alone need not wait

    n_bytes, group = psutil.virtual_memory().available, _control_group("memory")
    stat = _read(group / "memory.stat").split()
    for limit_file, usage_file, freed_key in MEMORY_FILES:
        if limit := _number(_read(group / limit_file)):
            freed = _number(dict(zip(stat[::2], stat[1::2], strict=False)).get(freed_key, ""))
            n_bytes = min(n_bytes, max(limit - max(_number(_read(group / usage_file)) - freed, 0), 0))
    return n_bytes


def _control_group(controller: str) -> Path:
    """The folder of this process's control group for a controller; a container may have it mounted as the root."""
    for line in _read(OWN_CGROUPS).splitlines():
        match line.split(":", 2):
            case [_, controllers, path] if not controllers or controller in controllers.split(","):
                mount = CGROUP_MOUNT / controller if controllers else CGROUP_MOUNT
                group = mount / path.lstrip("/")
                return group if group.is_dir() else mount
    return CGROUP_MOUNT


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(text: str) -> int:
    """A number that is not negative; 0 for "max" and all else."""
    return int(text) if text.strip().isdecimal() else 0
