"""Semantic segmentation alone."""

import pytest
import torch
from mmengine.structures import PixelData

from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from tests.models.tiny import BACKBONE, NECK


@pytest.fixture
def segmentor():
    torch.manual_seed(0)
    head = dict(type='SemanticFPNHead', num_classes=3, in_channels=NECK['out_channels'], inner_channels=32, end_level=2)
    config = dict(type='SemanticSegmentor', backbone=BACKBONE, neck=NECK, semantic_head=head)
    return MODELS.build(config)


def sample(labels, ori_shape=(64, 64)):
    meta = dict(img_shape=(64, 64), batch_input_shape=(64, 64), ori_shape=ori_shape)
    return DetDataSample(metainfo=meta, gt_sem_seg=PixelData(sem_seg=labels))


def halves():
    """Class 0 on the left, 2 on the right."""
    labels = torch.zeros(1, 64, 64, dtype=torch.long)
    labels[..., 32:] = 2
    return labels


def test_learns_the_class_of_each_pixel(segmentor):
    labels = halves()
    images = torch.where(labels > 0, 1.0, -1.0).expand(1, 3, 64, 64)
    optimizer = torch.optim.Adam(segmentor.parameters(), 1e-2)
    segmentor.train()
    for _ in range(12):
        losses = segmentor(images, [sample(labels)], mode='loss')
        assert list(losses) == ['loss_seg']
        optimizer.zero_grad()
        losses['loss_seg'].backward()
        optimizer.step()
    segmentor.eval()
    with torch.no_grad():
        (found,) = segmentor(images, [sample(labels)], mode='predict')
    predicted = found.pred_sem_seg.sem_seg
    assert predicted.shape == labels.shape
    assert (predicted == labels).float().mean() > 0.9


def test_predicts_in_the_size_of_the_original(segmentor):
    segmentor.eval()
    with torch.no_grad():
        (found,) = segmentor(torch.zeros(1, 3, 64, 64), [sample(halves(), ori_shape=(40, 30))], mode='predict')
        logits = segmentor(torch.zeros(1, 3, 64, 64))
    assert found.pred_sem_seg.sem_seg.shape == (1, 40, 30)
    assert logits.shape[1] == 3
