"""Random numbers: a stream of its own for each purpose, so that one purpose never draws the numbers of another."""

import zlib

import numpy as np
import torch


def seeded_generator(device: torch.device | str, purpose: str, seed: int, *keys: int) -> torch.Generator:
    """A generator on `device` that depends on `purpose`, the run's `seed` and `keys` (fold, epoch; at least 0) alone.

    Other purposes, other keys, or more of them, give independent streams (numpy.random.SeedSequence).
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(purpose.encode()), *keys))
    return torch.Generator(device).manual_seed(int(sequence.generate_state(1, np.uint64)[0]))


def seed_torch(purpose: str, seed: int, *keys: int) -> None:
    """Seed PyTorch's own generators, which draw new weights and dropout, as `seeded_generator`."""
    torch.manual_seed(seeded_generator("cpu", purpose, seed, *keys).initial_seed())
