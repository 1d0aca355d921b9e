import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmdetlike.apis import inference_detector
from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms import BaseTransform
from mmdetlike.errors import ConfigError
from tests.apis.helpers import assert_same, box_distance, picture, tiny_detector, write_pictures, write_video


@pytest.fixture(scope='module')
def detector():
    return tiny_detector()


def test_path_and_array_give_the_same(detector, tmp_path):
    (path,) = write_pictures(tmp_path, 1)
    from_array = inference_detector(detector, picture())
    assert from_array.pred_instances.bboxes.shape[1] == 4
    assert_same(inference_detector(detector, str(path)), from_array)
    assert_same(inference_detector(detector, path), from_array)
    assert inference_detector(detector, path).img_path == str(path)


def test_predictions_depend_on_the_picture_and_its_channels(detector):
    base = inference_detector(detector, picture())
    for other in (picture(1), picture()[..., ::-1]):
        assert box_distance(inference_detector(detector, other), base) > 0.01


def test_list_and_batches_give_the_same_as_single_pictures(detector):
    pictures = [picture(seed) for seed in range(5)]
    singles = [inference_detector(detector, image) for image in pictures]
    for batch_size in (1, 2, 5):
        together = inference_detector(detector, tuple(pictures), batch_size=batch_size)
        assert isinstance(together, list) and len(together) == 5
        for one, other in zip(together, singles):
            assert_same(one, other, tolerance=1e-4)
    assert inference_detector(detector, []) == []


def test_mixed_list(detector, tmp_path):
    (path,) = write_pictures(tmp_path, 1)
    first, second = inference_detector(detector, [path, picture()], batch_size=2)
    assert_same(first, second, tolerance=1e-4)


def test_other_kinds_of_arrays(detector):
    grey = cv2.cvtColor(picture(), cv2.COLOR_BGR2GRAY)
    expected = inference_detector(detector, np.stack([grey] * 3, axis=2))
    assert_same(inference_detector(detector, grey), expected)
    assert_same(inference_detector(detector, grey[..., None]), expected)
    with_alpha = np.concatenate([picture(), np.full((64, 96, 1), 7, np.uint8)], axis=2)
    assert_same(inference_detector(detector, with_alpha), inference_detector(detector, picture()))


def test_other_kinds_of_files(detector, tmp_path):
    expected = inference_detector(detector, picture())
    with_alpha = np.concatenate([picture(), np.full((64, 96, 1), 7, np.uint8)], axis=2)
    for name, content in (('alpha.png', with_alpha), ('deep.png', picture().astype(np.uint16) * 257)):
        assert cv2.imwrite(str(tmp_path / name), content)
        assert_same(inference_detector(detector, tmp_path / name), expected)
    grey = cv2.cvtColor(picture(), cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(tmp_path / 'grey.png'), grey)
    assert_same(inference_detector(detector, tmp_path / 'grey.png'), inference_detector(detector, grey))


def test_rotation_by_exif_is_applied(detector, tmp_path):
    image = Image.fromarray(picture()[..., ::-1])
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    image.save(tmp_path / 'turned.jpg', exif=exif, quality=95)
    as_stored = cv2.imread(str(tmp_path / 'turned.jpg'), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    result = inference_detector(detector, tmp_path / 'turned.jpg')
    assert result.ori_shape == (96, 64)
    assert_same(result, inference_detector(detector, np.rot90(as_stored, k=-1)))


def test_boxes_are_in_pixels_of_the_original():
    pipeline = [dict(type='LoadShapesImage'), dict(type='Resize', scale=(96, 64)), dict(type='PackDetInputs')]
    detector = tiny_detector(**{'test_dataloader.dataset.pipeline': pipeline})
    small = inference_detector(detector, picture())
    large = inference_detector(detector, picture().repeat(2, axis=0).repeat(2, axis=1))
    assert large.scale_factor == (0.5, 0.5) and large.ori_shape == (128, 192)
    torch.testing.assert_close(large.pred_instances.bboxes, 2 * small.pred_instances.bboxes, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(large.pred_instances.scores, small.pred_instances.scores)
    assert large.pred_instances.bboxes.max() > 100


def test_annotations_are_not_asked_for(detector):
    steps = [
        dict(type='mmcv.LoadImageFromFile', to_float32=True),
        dict(type='LoadAnnotations', with_bbox=True, with_seg=True),
        dict(type='LoadProposals'),
        dict(type='FilterAnnotations'),
        dict(type='mmdet.PackDetInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'instances')),
    ]
    result = inference_detector(detector, picture(), test_pipeline=steps)
    assert_same(result, inference_detector(detector, picture()))
    assert 'instances' not in result.metainfo and 'gt_sem_seg' not in result


def test_a_pipeline_that_packs_nothing(detector):
    with pytest.raises(ConfigError, match=r'the test pipeline makes .*img.*: expected inputs, by PackDetInputs'):
        inference_detector(detector, picture(), test_pipeline=[dict(type='LoadImageFromFile')])


def test_pipeline_as_callable(detector):
    seen = []

    def pipeline(results):
        seen.append(results)
        inputs = torch.from_numpy(np.ascontiguousarray(picture().transpose(2, 0, 1)))
        sample = inference_detector(detector, picture())
        del sample.pred_instances
        return dict(inputs=inputs, data_samples=sample)

    assert_same(
        inference_detector(detector, 'anything.jpg', test_pipeline=pipeline), inference_detector(detector, picture())
    )
    assert seen == [dict(img_path='anything.jpg', img_id=0)]


def test_model_without_a_pipeline(detector):
    cfg, detector.cfg = detector.cfg, None
    try:
        with pytest.raises(ConfigError, match='no cfg to take a test pipeline from'):
            inference_detector(detector, picture())
    finally:
        detector.cfg = cfg


def test_damaged_files(detector, tmp_path):
    cv2.imwrite(str(tmp_path / 'whole.jpg'), picture())
    content = (tmp_path / 'whole.jpg').read_bytes()
    (tmp_path / 'half.jpg').write_bytes(content[: len(content) // 2])
    (tmp_path / 'text.jpg').write_text('no picture')
    (tmp_path / 'empty.jpg').write_bytes(b'')
    expected = {'half.jpg': 'truncated', 'text.jpg': 'damaged', 'empty.jpg': 'empty', 'gone.jpg': 'no such file'}
    for name, message in expected.items():
        with pytest.raises(ImageError, match=f'{name}.*{message}'):
            inference_detector(detector, tmp_path / name)


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (picture().astype(np.float32), r'uint8.*got float32 of the shape \(64, 96, 3\)'),
        (picture().transpose(2, 0, 1), r'got uint8 of the shape \(3, 64, 96\)'),
        (np.zeros((4, 4, 5), np.uint8), r'shape \(4, 4, 5\)'),
        (np.zeros((0, 4, 3), np.uint8), r'shape \(0, 4, 3\)'),
        (np.zeros((1, 4, 4, 4, 3), np.uint8), r'shape \(1, 4, 4, 4, 3\)'),
        (torch.zeros(5, 4, 3), r'a tensor must be \(3, h, w\), got the shape \(5, 4, 3\)'),
        (torch.full((3, 4, 4), 90.0), r'between 0 and 1, got 90 to 90; call .to\(torch.uint8\)'),
        (torch.full((3, 4, 4), torch.nan), 'between 0 and 1, got nan'),
        (torch.zeros(3, 4, 4, dtype=torch.int64), 'got int64'),
    ],
)
def test_arrays_that_are_no_pictures(detector, image, message):
    with pytest.raises(ValueError, match=message):
        inference_detector(detector, image)


def test_inputs_of_other_types(detector):
    for strange in (b'bytes', io.BytesIO(b'bytes'), dict(img=1), None):
        with pytest.raises(TypeError, match=rf'expected a path, an array .*, got {type(strange).__name__}'):
            inference_detector(detector, strange)
    with pytest.raises(ValueError, match="channel_order must be one of 'bgr', 'rgb', got 'RGB'"):
        inference_detector(detector, picture(), channel_order='RGB')
    with pytest.raises(TypeError, match='got int'):
        inference_detector(detector, [3])
    with pytest.raises(ValueError, match='batch_size must be a positive integer, got 0'):
        inference_detector(detector, picture(), batch_size=0)


def test_pictures_in_memory_of_all_kinds(detector):
    bgr = picture()
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    channels_first = np.ascontiguousarray(bgr.transpose(2, 0, 1))
    expected = inference_detector(detector, bgr)
    for image in (Image.fromarray(rgb), torch.from_numpy(channels_first), torch.from_numpy(channels_first) / 255):
        assert_same(inference_detector(detector, image), expected)
    for image in (Image.fromarray(rgb), rgb, torch.from_numpy(channels_first).flip(0)):
        assert_same(inference_detector(detector, image, channel_order='rgb'), expected)
    deep = Image.fromarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(np.uint16) * 257)
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    assert_same(inference_detector(detector, deep), inference_detector(detector, grey))


def test_a_pipeline_without_a_loader(detector, tmp_path):
    (path,) = write_pictures(tmp_path, 1)
    steps = [dict(type='Resize', scale=(192, 128)), dict(type='PackDetInputs')]
    assert inference_detector(detector, path, test_pipeline=steps).img_shape == (128, 192)


@pytest.mark.parametrize(('dtype', 'mode'), [(np.float32, 'F'), (np.int32, 'I')])
def test_a_pillow_image_of_unknown_range(detector, dtype, mode):
    with pytest.raises(ValueError, match=f"PIL image of the mode '{mode}', 32 bits, has no known range"):
        inference_detector(detector, Image.fromarray(np.zeros((4, 4), dtype)))


def test_several_pictures(detector, tmp_path):
    images = [picture(seed) for seed in range(3)]
    singles = [inference_detector(detector, image) for image in images]
    paths = write_pictures(tmp_path, 3)
    stack = np.stack(images)
    tensors = torch.from_numpy(stack).permute(0, 3, 1, 2)
    in_memory = (iter(images), stack, tensors, [stack[:2], images[2]])
    for several in (*in_memory, iter(paths), dict.fromkeys(paths).keys()):
        results = inference_detector(detector, several)
        assert len(results) == 3
        for result, single in zip(results, singles):
            assert_same(result, single)


def test_results_can_be_changed_in_place(detector):
    found = inference_detector(detector, picture()).pred_instances
    found.bboxes.mul_(2)
    assert not found.bboxes.is_inference() and not found.bboxes.requires_grad


def test_a_model_in_training_predicts_as_in_eval_mode(detector):
    expected = inference_detector(detector, picture())
    detector.train()
    modes = [module.training for module in detector.modules()]
    try:
        assert_same(inference_detector(detector, picture()), expected)
        assert [module.training for module in detector.modules()] == modes
    finally:
        detector.eval()


def test_weights_of_half_precision():
    detector = tiny_detector().half()
    with pytest.raises(ConfigError, match=r'weights of the model are torch.float16 .* call model.float\(\)'):
        inference_detector(detector, picture())


def test_a_video_is_no_picture(detector, tmp_path):
    write_video(tmp_path / 'clip.avi', 2, 'MJPG')
    with pytest.raises(ImageError, match=r'clip\.avi: it is a video, which DetInferencer takes'):
        inference_detector(detector, tmp_path / 'clip.avi')


class ReadRaw(BaseTransform):
    """A loader of a user's own, whose name says nothing."""

    role = 'image'

    def transform(self, results):
        results['img'] = np.fromfile(results['img_path'], np.uint8).reshape(64, 96, 3)
        results['img_shape'] = results['ori_shape'] = (64, 96)
        results['scale_factor'] = (1.0, 1.0)
        return results


class Undeclared(ReadRaw):
    role = None


class NeedsInstances(BaseTransform):
    role = 'annotations'

    def transform(self, results):
        raise KeyError('instances')


@pytest.mark.parametrize('loader', [ReadRaw, Undeclared])
def test_steps_say_what_they_do(detector, tmp_path, loader):
    picture().tofile(tmp_path / 'a.raw')
    keys = ('img_path', 'ori_shape', 'img_shape', 'scale_factor', 'camera', 'segments_info')
    steps = [dict(type=loader), dict(type=NeedsInstances), dict(type='PackDetInputs', meta_keys=keys)]
    expected = inference_detector(detector, picture())
    for image in (tmp_path / 'a.raw', picture()):
        assert_same(inference_detector(detector, image, test_pipeline=steps), expected)
