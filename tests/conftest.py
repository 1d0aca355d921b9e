"""Settings for all tests: one thread, no trust left over from another test, no network."""

import gc
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_trust(monkeypatch):
    monkeypatch.delenv('MMDETLIKE_TRUST_CHECKPOINT', raising=False)


@pytest.fixture(autouse=True, scope='session')
def _cheap_collections():
    """Leave modules and collected tests out of garbage collections, of which mmengine's datasets ask for one each."""
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def _unformatted_configs():
    """Leave configs unformatted where they are stored: that takes longer than training on tiny pictures."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ('mmengine.config.config', 'mmdetlike.utils.config_text'):
            patch.setattr(f'{module}.FormatCode', lambda text, **_: (text, False))
        yield
