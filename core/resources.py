"""What this process may use of the machine's cores and memory, where a container or a scheduler gives it less than all.

Linux's control groups of both versions are read: this process's own and every group above it, for each may be tighter.
Inside a container the mount's root is the group. A file that is not there, or not as the kernel writes it, limits
nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUP_MOUNT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
"""A line a hierarchy: number, controllers (none: version 2), path, with colons between them."""

MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of both versions: the limit, what is used of it, and the line of memory.stat that says what of this goes first."""


def available_cores() -> int:
    """Cores this process may use: those it may run on, and no more than its groups' CPU time keeps busy."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([n_cores, *_cores_by_quota()])


def available_bytes() -> int:
    """Memory this process may still take: what the machine has free, and no more than its groups have left."""
    import psutil  # 30 ms, for which scripts that ask for cores alone need not wait

    return min([psutil.virtual_memory().available, *_bytes_by_limit()])


def _cores_by_quota() -> Iterator[int]:
    """Cores that each group's CPU time keeps busy, rounded up: 150 ms of every 100 ms are 2."""
    for group in _control_groups("cpu"):
        text = _read(group / "cpu.max") or f"{_read(group / 'cpu.cfs_quota_us')} {_read(group / 'cpu.cfs_period_us')}"
        match [_number(word) for word in text.split()]:
            case [int(quota_us), int(period_us)] if quota_us > 0 and period_us > 0:
                yield -(-quota_us // period_us)


def _bytes_by_limit() -> Iterator[int]:
    """Bytes that each group has left of its limit."""
    for group in _control_groups("memory"):
        for limit_file, usage_file, reclaimable_key in MEMORY_FILES:
            limit, usage = _number(_read(group / limit_file)), _number(_read(group / usage_file)) or 0
            if limit is not None and limit > 0:
                memory_stat = dict(
                    line.split(" ", 1) for line in _read(group / "memory.stat").splitlines() if " " in line
                )
                non_reclaimable = max(0, usage - (_number(memory_stat.get(reclaimable_key, "")) or 0))
                yield max(0, limit - non_reclaimable)


def _control_groups(controller: str) -> Iterator[Path]:
    """Folders of this process's groups that `controller` may limit, and of all groups above them, where mounted."""
    paths = {CGROUP_MOUNT: "", CGROUP_MOUNT / "unified": "", CGROUP_MOUNT / controller: ""}
    for line in _read(OWN_CGROUPS).splitlines():
        match line.split(":", 2):
            case [_, "", path]:
                paths |= {CGROUP_MOUNT: path, CGROUP_MOUNT / "unified": path}
            case [_, names, path] if controller in names.split(","):
                paths |= {CGROUP_MOUNT / controller: path, CGROUP_MOUNT / names: path}
    for mount, path in paths.items():
        steps = [step for step in path.split("/") if step]
        depth = 0 if ".." in steps else len(steps)  # with "..", the group lies outside of what is mounted
        yield from (mount.joinpath(*steps[:n]) for n in range(depth + 1))


def _read(path: Path) -> str:
    """What stands in a file; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError):
        return ""


def _number(text: str) -> int | None:
    """A whole number; None for "max" and all else."""
    try:
        return int(text)
    except ValueError:
        return None
