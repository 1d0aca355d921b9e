"""Seeding by iteration, so that a resumed run draws the same random numbers as an uninterrupted one."""

import random
import zlib

import numpy as np
import torch
from mmengine.hooks import DistSamplerSeedHook as MMEngineDistSamplerSeedHook

from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class DistSamplerSeedHook(MMEngineDistSamplerSeedHook):
    """Seed samplers by epoch and all random generators by iteration.

    Every iteration starts from generators seeded with (run seed, iteration, rank), so a resumed run draws what the
    uninterrupted one draws, without their state being stored. Nothing is seeded where the run has no seed.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Seed the generators that the model uses in this iteration."""
        # a hash, since sums such as seed + iteration would give runs of neighboring seeds the same numbers
        seed = zlib.crc32(f'{runner.seed}/{runner.iter}/{runner.rank}'.encode())
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
