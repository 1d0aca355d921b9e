"""Pictures whose channels don't fit the model."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmdetlike.engine.hooks.channels_hook import ChannelCheckHook, input_channels
from mmdetlike.errors import ConfigError
from mmdetlike.models.data_preprocessors import DetDataPreprocessor
from mmdetlike.structures import DetDataSample


def runner_of(in_channels):
    backbone = nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.Conv2d(8, 8, 3))
    return SimpleNamespace(model=SimpleNamespace(backbone=backbone))


def batch_of(channels):
    return dict(inputs=[torch.zeros(channels, 8, 8)], data_samples=[DetDataSample(metainfo=dict(img_path='a.png'))])


@pytest.mark.parametrize('taken, given', [(1, 3), (3, 1), (3, 4), (4, 3), (12, 1)])
def test_other_channels_than_the_model_takes(taken, given):
    with pytest.raises(ConfigError, match=rf'a\.png has {given} channels after the train_pipeline.* takes {taken}'):
        ChannelCheckHook().before_train_iter(runner_of(taken), 0, batch_of(given))


@pytest.mark.parametrize('taken, given', [(1, 1), (3, 3), (12, 3), (5, 5)])
def test_fitting_channels_pass(taken, given):
    ChannelCheckHook().before_test_iter(runner_of(taken), 0, batch_of(given))


def test_unknown_models_and_batches_pass():
    ChannelCheckHook().before_val_iter(runner_of(3), 0, [1, 2])
    model = nn.Linear(2, 2)
    assert input_channels(model) is None
    ChannelCheckHook().before_val_iter(SimpleNamespace(model=model), 0, batch_of(3))


def test_means_of_other_channels():
    preprocessor = DetDataPreprocessor(mean=[1.0] * 3, std=[1.0] * 3)
    with pytest.raises(ConfigError, match='a picture has 4 channels, but mean and std of the data_preprocessor have 3'):
        preprocessor(batch_of(4))
