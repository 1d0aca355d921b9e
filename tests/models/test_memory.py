"""What a training step keeps in memory: activations until the backward pass, and the masks of a batch."""

import numpy as np
import pytest
import torch
from torch import nn

from mmdetlike.models.backbones import ResNet
from mmdetlike.models.data_preprocessors import DetDataPreprocessor
from mmdetlike.models.heads.roi.branches import crop_bitmaps
from mmdetlike.structures import BitmapMasks
from tests.models.tiny_masks import masked_sample

BOXES = [[4.0, 4, 30, 40], [20, 10, 60, 60], [0, 0, 8, 8]]


def saved(model: nn.Module, images: torch.Tensor) -> dict[int, torch.Tensor]:
    """Tensors, other than parameters, that a forward pass keeps for the backward pass, one for each storage."""
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(images)
    return kept


def megabytes(tensors: dict[int, torch.Tensor]) -> float:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values()) / 2**20


def resnet(depth: int = 50, **settings) -> ResNet:
    return ResNet(depth, base_channels=8, **settings).train()


def test_checkpoints_keep_the_inputs_of_blocks_only():
    images = torch.rand(2, 3, 96, 96)
    plain = megabytes(saved(resnet(), images))
    saving = megabytes(saved(resnet(with_cp=True), images))
    assert 0 < saving < 0.5 * plain


@pytest.mark.parametrize('frozen', [1, 2, 3])
def test_frozen_stages_keep_nothing(frozen):
    """As usual in detection, batch norms keep their statistics: then nothing before the first trained stage is kept."""
    model = resnet(frozen_stages=frozen, norm_eval=True)
    kept = saved(model, torch.rand(2, 3, 96, 96))
    widest = max(tensor.shape[-1] for tensor in kept.values() if tensor.ndim == 4)
    assert widest == 96 // 2 ** (frozen + 1), 'the input of the first trained stage'


def test_a_frozen_network_keeps_nothing_at_all():
    assert saved(resnet(frozen_stages=4, norm_eval=True), torch.rand(2, 3, 64, 64)) == {}


def test_masks_of_the_size_of_the_batch_are_there_once():
    preprocessor = DetDataPreprocessor(pad_mask=True, pad_size_divisor=32)
    sample = masked_sample(BOXES)
    masks = sample.gt_instances.masks.masks
    (found,) = preprocessor(dict(inputs=[torch.zeros(3, 64, 64)], data_samples=[sample]), True)['data_samples']
    assert np.shares_memory(found.gt_instances.masks.masks, masks)


def test_smaller_masks_are_padded_into_new_ones():
    masks = BitmapMasks(np.ones((2, 3, 4), np.uint8), 3, 4)
    padded = masks.pad((5, 6))
    assert padded.size == (5, 6) and padded.masks.sum() == 24 and not np.shares_memory(padded.masks, masks.masks)
    assert masks.pad((3, 4)) is masks


def check_crops(device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    masks = masked_sample(BOXES).gt_instances.masks
    corners = 50 * torch.rand(40, 2, generator=generator) - 4
    boxes = torch.cat([corners, corners + 1 + 60 * torch.rand(40, 2, generator=generator)], dim=1)
    indices = torch.randint(3, (40,), generator=generator)
    expected = masks.crop_and_resize(boxes, (14, 10), indices).to_ndarray()
    found = crop_bitmaps(masks, boxes.to(device), indices.to(device), (14, 10))
    assert found.dtype == torch.float32 and found.shape == (40, 14, 10)
    # bins whose mean is one half up to rounding may fall on either side
    assert (found.cpu().numpy() != expected).mean() < 1e-3 and 0.05 < expected.mean() < 0.95


def test_bitmaps_are_cut_as_on_the_cpu():
    check_crops('cpu')


@pytest.mark.gpu
def test_bitmaps_are_cut_on_a_gpu():
    check_crops('cuda')
