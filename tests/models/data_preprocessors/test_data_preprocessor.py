"""DetDataPreprocessor: stacking, padding, normalizing, and what it tells and changes of the samples."""

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData, PixelData

from mmdetlike.models.data_preprocessors import BatchSyncRandomResize, DetDataPreprocessor
from mmdetlike.registry import MODELS
from mmdetlike.structures import BitmapMasks, DetDataSample, HorizontalBoxes, PolygonMasks


def image(height, width, start=0):
    values = torch.arange(3 * height * width) + start
    return (values % 256).to(torch.uint8).reshape(3, height, width)


def sample(height, width, boxes=((1, 2, 3, 4),), box_type=torch.tensor):
    result = DetDataSample(metainfo=dict(img_shape=(height, width)))
    tensor = torch.tensor(boxes, dtype=torch.float32)
    result.gt_instances = InstanceData(bboxes=tensor if box_type is torch.tensor else box_type(tensor))
    result.ignored_instances = InstanceData(bboxes=result.gt_instances.bboxes.clone())
    return result


def test_stack_and_pad():
    images = [image(5, 7), image(8, 4, start=50)]
    out = DetDataPreprocessor(pad_value=9)(dict(inputs=images))
    inputs = out['inputs']
    assert inputs.shape == (2, 3, 8, 7) and inputs.dtype == torch.float32 and out['data_samples'] is None
    assert torch.equal(inputs[0, :, :5, :7], images[0].float()) and torch.equal(inputs[1, :, :8, :4], images[1].float())
    assert bool((inputs[0, :, 5:] == 9).all()) and bool((inputs[1, :, :, 4:] == 9).all())


@pytest.mark.parametrize('divisor, expected', [(1, (33, 20)), (16, (48, 32)), (32, (64, 32)), (33, (33, 33))])
def test_padding_divisor(divisor, expected):
    out = DetDataPreprocessor(pad_size_divisor=divisor)(dict(inputs=[image(33, 10), image(5, 20)]))
    assert tuple(out['inputs'].shape[2:]) == expected


def test_normalisation_numbers():
    pixels = torch.tensor([100, 150, 200], dtype=torch.uint8).reshape(3, 1, 1)
    settings = dict(mean=[10.0, 20.0, 30.0], std=[1.0, 2.0, 4.0])
    run = lambda **kw: DetDataPreprocessor(**settings, **kw)(dict(inputs=[pixels]))['inputs'].flatten().tolist()  # noqa: E731
    assert run() == [90.0, 65.0, 42.5]
    assert run(bgr_to_rgb=True) == run(rgb_to_bgr=True) == [190.0, 65.0, 17.5]


def test_padding_comes_after_normalization():
    out = DetDataPreprocessor(mean=[128.0] * 3, std=[2.0] * 3)(dict(inputs=[image(2, 2), image(3, 3)]))['inputs']
    assert bool((out[0, :, 2:] == 0).all()) and float(out[0, 0, 0, 0]) == -64


def test_channel_order_alone():
    pixels = image(2, 2)
    out = DetDataPreprocessor(bgr_to_rgb=True)(dict(inputs=[pixels]))['inputs']
    assert torch.equal(out[0], pixels.flip(0).float())
    assert int(pixels[0, 0, 0]) == 0  # the image itself stays


def test_grey_images_keep_their_channel():
    out = DetDataPreprocessor(mean=[10.0], std=[2.0], bgr_to_rgb=True)(dict(inputs=[image(2, 2)[:1]]))['inputs']
    assert out.shape == (1, 1, 2, 2) and float(out[0, 0, 0, 1]) == -4.5


def test_one_tensor_gives_the_same_as_a_list():
    images = torch.stack([image(6, 5), image(6, 5, start=9)])
    settings = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], pad_size_divisor=4, bgr_to_rgb=True)
    preprocessor = DetDataPreprocessor(**settings)
    a, b = preprocessor(dict(inputs=images))['inputs'], preprocessor(dict(inputs=list(images)))['inputs']
    assert a.shape == (2, 3, 8, 8) and torch.equal(a, b)


@pytest.mark.parametrize('wrong', [image(4, 4), np.zeros((4, 4, 3)), 'picture.jpg'])
def test_wrong_inputs(wrong):
    with pytest.raises(TypeError, match=r'inputs must be a list of images \(3, h, w\) or a tensor'):
        DetDataPreprocessor()(dict(inputs=wrong))


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(mean=[0.0] * 3), r'both mean and std or neither'),
        (dict(std=[1.0] * 3), r'both mean and std or neither, got mean=None'),
        (dict(bgr_to_rgb=True, rgb_to_bgr=True), 'both set'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        DetDataPreprocessor(**settings)


def test_metainfo():
    samples = [sample(5, 7), sample(30, 4)]
    out = DetDataPreprocessor(pad_size_divisor=16)(dict(inputs=[image(5, 7), image(30, 4)], data_samples=samples))
    first, second = out['data_samples']
    assert first.batch_input_shape == second.batch_input_shape == (32, 16)
    assert (first.pad_shape, second.pad_shape) == ((16, 16), (32, 16))
    assert (first.img_shape, second.img_shape) == ((5, 7), (30, 4))
    assert {'batch_input_shape', 'pad_shape', 'img_shape'} <= set(first.metainfo_keys())


@pytest.mark.parametrize('convert', [True, False])
def test_boxtype2tensor(convert):
    one = sample(5, 5, box_type=HorizontalBoxes)
    one.proposals = InstanceData(bboxes=HorizontalBoxes(torch.zeros(2, 4)))
    out = DetDataPreprocessor(boxtype2tensor=convert)(dict(inputs=[image(5, 5)], data_samples=[one]))
    (one,) = out['data_samples']
    kind = torch.Tensor if convert else HorizontalBoxes
    for instances in (one.gt_instances, one.ignored_instances, one.proposals):
        assert isinstance(instances.bboxes, kind)
    boxes = one.gt_instances.bboxes
    assert (boxes if convert else boxes.tensor).tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
def test_pad_mask(training, kind):
    one, other = sample(4, 6), sample(8, 8)
    if kind == 'bitmap':
        one.gt_instances.masks = BitmapMasks(np.ones((1, 4, 6), np.uint8), 4, 6)
    else:
        one.gt_instances.masks = PolygonMasks([[np.array([0.0, 0, 6, 0, 6, 4, 0, 4])]], 4, 6)
    preprocessor = DetDataPreprocessor(pad_mask=True, mask_pad_value=0, pad_size_divisor=16)
    out = preprocessor(dict(inputs=[image(4, 6), image(8, 8)], data_samples=[one, other]), training)
    masks = out['data_samples'][0].gt_instances.masks
    # in testing annotations are compared with predictions in the original image
    assert (masks.height, masks.width) == ((16, 16) if training else (4, 6))
    assert int(np.asarray(masks.to_ndarray()).sum()) == 24


def test_mask_pad_value():
    one = sample(2, 2)
    one.gt_instances.masks = BitmapMasks(np.zeros((1, 2, 2), np.uint8), 2, 2)
    preprocessor = DetDataPreprocessor(pad_mask=True, mask_pad_value=1, pad_size_divisor=4)
    (padded,) = preprocessor(dict(inputs=[image(2, 2)], data_samples=[one]), True)['data_samples']
    assert padded.gt_instances.masks.masks.sum() == 16 - 4


@pytest.mark.parametrize('training', [True, False])
def test_pad_seg(training):
    one = sample(2, 3)
    one.gt_sem_seg = PixelData(sem_seg=torch.arange(6).reshape(1, 2, 3))
    preprocessor = DetDataPreprocessor(pad_seg=True, pad_size_divisor=4)
    (out,) = preprocessor(dict(inputs=[image(2, 3)], data_samples=[one]), training)['data_samples']
    seg = out.gt_sem_seg.sem_seg[0]
    if not training:
        assert seg.tolist() == [[0, 1, 2], [3, 4, 5]]
    else:
        assert seg.tolist() == [[0, 1, 2, 255], [3, 4, 5, 255], [255] * 4, [255] * 4]


def test_statistics_are_no_parameters():
    preprocessor = MODELS.build(dict(type='mmdet.DetDataPreprocessor', mean=[1.0] * 3, std=[2.0] * 3))
    assert not preprocessor.state_dict() and not list(preprocessor.parameters())


class Brighten(torch.nn.Module):
    def forward(self, inputs, data_samples):
        return inputs + 100, data_samples


@pytest.mark.parametrize('training', [True, False])
def test_batch_augments_run_in_training(training):
    MODELS.register_module(name='BrightenForTest', module=Brighten, force=True)
    try:
        preprocessor = DetDataPreprocessor(batch_augments=[dict(type='BrightenForTest')] * 2)
    finally:
        del MODELS.module_dict['BrightenForTest']
    out = preprocessor(dict(inputs=[image(2, 2)]), training)['inputs']
    assert float(out[0, 0, 0, 1]) == (201 if training else 1)


@pytest.fixture
def hub():
    hub = MessageHub.get_current_instance()
    before = dict(hub.runtime_info)
    yield hub
    hub.runtime_info.clear()
    hub.runtime_info.update(before)


@pytest.mark.parametrize('box_type', [torch.tensor, HorizontalBoxes])
def test_batch_sync_random_resize(hub, box_type):
    np.random.seed(0)
    settings = dict(type='BatchSyncRandomResize', random_size_range=(64, 128), interval=2, size_divisor=32)
    preprocessor = DetDataPreprocessor(batch_augments=[settings], boxtype2tensor=False)
    sizes = []
    for step in range(40):
        hub.update_info('iter', step)
        samples = [sample(64, 32, boxes=((8, 16, 24, 32),), box_type=box_type), sample(32, 32, box_type=box_type)]
        out = preprocessor(dict(inputs=[image(64, 32), image(32, 32)], data_samples=samples), True)
        samples = out['data_samples']
        height, width = out['inputs'].shape[2:]
        sizes.append((height, width))
        factor = height / 64, width / 32
        boxes = samples[0].gt_instances.bboxes
        expected = torch.tensor([[8 * factor[1], 16 * factor[0], 24 * factor[1], 32 * factor[0]]])
        torch.testing.assert_close(getattr(boxes, 'tensor', boxes), expected)
        ignored = samples[0].ignored_instances.bboxes
        torch.testing.assert_close(getattr(ignored, 'tensor', ignored), expected)
        assert samples[0].img_shape == samples[0].batch_input_shape == (height, width)
        # the second image fills half of the batch
        assert samples[1].img_shape == samples[1].pad_shape == (height // 2, width)
    assert sizes[0] == sizes[1] == (64, 32)  # until the first draw
    assert all(sizes[i] == sizes[i + 1] for i in range(0, 40, 2))
    assert set(sizes) == {(64, 32), (96, 32), (128, 64)}  # width follows the ratio, rounded down to the divisor


def test_resize_is_bilinear(hub):
    hub.update_info('iter', 0)
    augment = BatchSyncRandomResize((64, 64), interval=1, size_divisor=32)
    pixels = torch.rand(1, 3, 32, 32)
    same, _ = augment(pixels, [])
    assert same is pixels
    larger, _ = augment(pixels, [])
    expected = torch.nn.functional.interpolate(pixels, size=(64, 64), mode='bilinear', align_corners=False)
    assert torch.equal(larger, expected)


def test_without_a_runner_the_size_stays(hub):
    augment = BatchSyncRandomResize((64, 64), interval=10, size_divisor=32)
    pixels = torch.rand(1, 3, 32, 32)
    for _ in range(12):
        assert augment(pixels, [])[0] is pixels
