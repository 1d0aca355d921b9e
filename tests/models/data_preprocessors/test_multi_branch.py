"""MultiBranchDataPreprocessor: branches of other sizes and numbers, plain batches, devices, and what doesn't fit."""

import pytest
import torch

from mmdetlike.errors import ConfigError
from mmdetlike.models.data_preprocessors import MultiBranchDataPreprocessor
from mmdetlike.structures import DetDataSample

INNER = dict(type='DetDataPreprocessor', mean=[1.0, 2.0, 3.0], std=[1.0, 1.0, 1.0], pad_size_divisor=8)


def image(height, width):
    return torch.full((3, height, width), 4, dtype=torch.uint8)


def sample(height, width):
    return DetDataSample(metainfo=dict(img_shape=(height, width)))


@pytest.fixture
def preprocessor():
    return MultiBranchDataPreprocessor(INNER)


@pytest.mark.parametrize('training', [True, False])
def test_each_branch_has_its_own_size_and_number(preprocessor, training):
    data = dict(
        inputs=dict(sup=[image(5, 7), None, image(9, 6)], student=[None, image(20, 10), None], teacher=[None] * 3),
        data_samples=dict(
            sup=[sample(5, 7), None, sample(9, 6)], student=[None, sample(20, 10), None], teacher=[None] * 3
        ),
    )
    out = preprocessor(data, training)
    assert list(out['inputs']) == list(out['data_samples']) == ['sup', 'student']
    assert out['inputs']['sup'].shape == (2, 3, 16, 8) and out['inputs']['student'].shape == (1, 3, 24, 16)
    assert out['inputs']['sup'][1, :, 8, 5].tolist() == [3.0, 2.0, 1.0]
    assert out['data_samples']['sup'][1].img_shape == (9, 6)
    assert out['data_samples']['sup'][1].batch_input_shape == (16, 8)
    assert out['data_samples']['student'][0].batch_input_shape == (24, 16)


def test_plain_batches_go_through(preprocessor):
    data = dict(inputs=[image(5, 7)], data_samples=[sample(5, 7)])
    out = preprocessor(data, training=True)
    assert out['inputs'].shape == (1, 3, 8, 8) and out['data_samples'][0].pad_shape == (8, 8)


def test_branches_without_samples(preprocessor):
    out = preprocessor(dict(inputs=dict(a=[image(5, 7)])))
    assert out['inputs']['a'].shape == (1, 3, 8, 8) and out['data_samples'] == dict(a=None)


def test_device_is_that_of_the_inner_one(preprocessor):
    preprocessor.to('meta')
    assert preprocessor.device == preprocessor.data_preprocessor.device == torch.device('meta')
    assert preprocessor.data_preprocessor.mean.is_meta


@pytest.mark.parametrize(
    'samples, message',
    [
        (dict(sup=[None]), r"images \{'sup': 1\}, but data_samples \{'sup': 0\}"),
        (dict(other=[sample(5, 7)]), r"images \{'sup': 1\}, but data_samples \{'other': 1\}"),
        ([sample(5, 7)], 'inputs come by branch, so data_samples must too; got a list'),
    ],
)
def test_images_and_samples_belong_together(preprocessor, samples, message):
    with pytest.raises(ConfigError, match=message):
        preprocessor(dict(inputs=dict(sup=[image(5, 7)]), data_samples=samples))


def test_a_batch_without_images_says_so(preprocessor):
    with pytest.raises(ConfigError, match='no sample of the batch has an image in any of the branches sup, student'):
        preprocessor(dict(inputs=dict(sup=[None], student=[None]), data_samples=dict(sup=[None], student=[None])))
