"""mmdetlike/errors.py: sentences that survive the way from a worker process."""

import pickle

import pytest
from torch.utils.data import DataLoader, Dataset

from mmdetlike.datasets.errors import DataError, ImageError
from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint import CheckpointError

ERRORS = [
    ConfigError('model: what was given\nand what was expected'),
    DataError('a.json: Caught ConfigError in passing'),
    ImageError('1.png', 'the file is empty'),
    CheckpointError('a.pth is not whole'),
]


class Broken(Dataset):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index):
        raise self.error


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_a_worker_process_hands_on_the_sentence_alone(error):
    with pytest.raises(type(error)) as caught:
        list(DataLoader(Broken(error), num_workers=1))
    assert str(caught.value) == str(error)


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled(error):
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
