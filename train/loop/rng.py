"""Seeded generators: one a purpose, told apart by whole numbers such as seed, fold and epoch."""

import numpy as np
import torch


def seeded_generator(device: torch.device | str, *keys: int) -> torch.Generator:
    """A generator on `device` whose numbers depend on `keys` (each at least 0) alone.

    Different keys, or more of them, give streams that share nothing (numpy.random.SeedSequence spreads them): a fold
    never reuses another's numbers, and an epoch's do not depend on the epochs before it.
    """
    seed = np.random.SeedSequence((len(keys), *keys)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(seed))
