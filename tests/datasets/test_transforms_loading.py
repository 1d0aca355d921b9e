import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from mmdetlike.datasets.transforms import (
    FilterAnnotations,
    ImageError,
    LoadAnnotations,
    LoadImageFromFile,
    LoadImageFromNDArray,
    LoadProposals,
)
from mmdetlike.structures import BitmapMasks, HorizontalBoxes, PolygonMasks


@pytest.fixture
def picture():
    """A smooth picture (h=40, w=60), BGR."""
    ys, xs = np.mgrid[:40, :60]
    return np.stack([xs * 4, ys * 6, (xs + ys) * 2], axis=-1).astype(np.uint8)


def load(path, **kwargs):
    return LoadImageFromFile(**kwargs)({'img_path': str(path)})


def test_color_image(picture, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), picture)
    results = load(tmp_path / 'a.png')
    assert np.array_equal(results['img'], picture)
    assert results['img_shape'] == results['ori_shape'] == (40, 60)
    assert results['scale_factor'] == (1.0, 1.0)
    as_float = load(tmp_path / 'a.png', to_float32=True)['img']
    assert as_float.dtype == np.float32
    assert as_float.max() == picture.max()


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp', '.tiff'])
def test_grayscale_becomes_three_equal_channels(picture, tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    cv2.imwrite(str(path), picture[..., 0])
    img = load(path)['img']
    assert img.shape == (40, 60, 3)
    assert img.dtype == np.uint8
    assert np.array_equal(img[..., 0], img[..., 2])
    assert np.abs(img[..., 0].astype(int) - picture[..., 0]).max() <= 6
    assert load(path, color_type='grayscale')['img'].shape == (40, 60)


def test_alpha_is_dropped(picture, tmp_path):
    rgba = np.dstack([picture, np.full((40, 60), 7, np.uint8)])
    cv2.imwrite(str(tmp_path / 'a.png'), rgba)
    assert np.array_equal(load(tmp_path / 'a.png')['img'], picture)
    assert np.array_equal(load(tmp_path / 'a.png', color_type='unchanged')['img'], rgba)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('suffix', ['.png', '.tiff'])
def test_16_bits_are_scaled_to_8(picture, tmp_path, suffix, channels, backend):
    if backend == 'pillow' and channels == 3 and suffix == '.tiff':
        pytest.skip('Pillow reads no such file')
    deep = picture[..., :channels].astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / f'a{suffix}'), deep)
    img = load(tmp_path / f'a{suffix}', imdecode_backend=backend)['img']
    assert img.dtype == np.uint8
    assert np.abs(img[..., :channels].astype(int) - picture[..., :channels]).max() <= 1


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
def test_exif_rotation_is_applied(picture, tmp_path, backend):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(picture[..., ::-1].copy()).save(tmp_path / 'a.jpg', quality=95, exif=exif)
    img = load(tmp_path / 'a.jpg', imdecode_backend=backend)['img']
    assert img.shape == (60, 40, 3)
    assert np.abs(img.astype(int) - np.rot90(picture, -1)).mean() < 5
    as_stored = load(tmp_path / 'a.jpg', color_type='color_ignore_orientation', imdecode_backend=backend)['img']
    assert as_stored.shape == (40, 60, 3)


@pytest.mark.parametrize('mode', ['P', '1', 'LA', 'CMYK'])
def test_other_modes(picture, tmp_path, mode):
    suffix = '.jpg' if mode == 'CMYK' else '.png'
    expected = Image.fromarray(picture[..., ::-1].copy()).convert(mode)
    expected.save(tmp_path / f'a{suffix}')
    img = load(tmp_path / f'a{suffix}')['img']
    assert img.dtype == np.uint8
    assert np.abs(img[..., ::-1].astype(int) - np.asarray(expected.convert('RGB'))).mean() < 8


def test_both_backends_agree(picture, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.jpg'), picture)
    with_cv2, with_pillow = (load(tmp_path / 'a.jpg', imdecode_backend=b)['img'] for b in ('cv2', 'pillow'))
    assert np.abs(with_cv2.astype(int) - with_pillow).max() <= 3


def test_missing_file(tmp_path):
    with pytest.raises(ImageError, match=r'gone\.jpg.*no such file') as caught:
        load(tmp_path / 'gone.jpg')
    assert caught.value.path == str(tmp_path / 'gone.jpg')
    assert load(tmp_path / 'gone.jpg', ignore_empty=True) is None


@pytest.mark.parametrize('content', [b'', b'garbage that is no picture'])
def test_no_picture(tmp_path, content):
    (tmp_path / 'a.jpg').write_bytes(content)
    with pytest.raises(ImageError, match=r'a\.jpg.*(empty|damaged or of an unknown format)'):
        load(tmp_path / 'a.jpg')


@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'comment': b'a thumbnail ends so: \xff\xd9'}], ids=str)
@pytest.mark.parametrize('share', [0.3, 0.6, 0.9, 0.999])
def test_truncated_jpeg(tmp_path, options, share):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))
    path = tmp_path / 'a.jpg'
    noise.save(path, **options)
    content = path.read_bytes()
    assert load(path)['img'].shape == (200, 300, 3)
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError, match=r'a\.jpg.*truncated'):
        load(path)


def test_jpeg_with_something_behind_its_end_is_whole(picture, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.jpg'), picture)
    for tail in (b'\0' * 100, b'appended by a camera'):
        with open(tmp_path / 'a.jpg', 'ab') as file:
            file.write(tail)
        assert load(tmp_path / 'a.jpg')['img'].shape == (40, 60, 3)


@pytest.mark.parametrize('suffix', ['.png', '.webp', '.bmp', '.tiff'])
def test_other_truncated_files(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match=rf'a\{suffix}'):
        load(path)


def test_image_from_an_array(picture):
    results = LoadImageFromNDArray()({'img': picture})
    assert results['img_shape'] == (40, 60)
    with pytest.raises(ImageError, match='expected'):
        LoadImageFromNDArray()({'img': [1, 2]})


def test_unknown_options_are_rejected():
    with pytest.raises(ValueError, match=r"color_type='colour'.*grayscale"):
        LoadImageFromFile(color_type='colour')
    with pytest.raises(ValueError, match="imdecode_backend='magick'"):
        LoadAnnotations(imdecode_backend='magick')


# Annotations

SQUARE = [5, 5, 15, 5, 15, 15, 5, 15]


def sample(*instances):
    return {'img_shape': (20, 30), 'img_path': 'a.jpg', 'instances': list(instances)}


def instance(label=0, **extra):
    return {'bbox': [5, 5, 15, 15], 'bbox_label': label, 'ignore_flag': 0, **extra}


def test_boxes_labels_and_flags():
    results = LoadAnnotations()(sample(instance(3), {**instance(1), 'ignore_flag': 1}))
    assert isinstance(results['gt_bboxes'], HorizontalBoxes)
    assert results['gt_bboxes'].tensor.tolist() == [[5, 5, 15, 15]] * 2
    assert results['gt_bboxes_labels'].tolist() == [3, 1]
    assert results['gt_bboxes_labels'].dtype == np.int64
    assert results['gt_ignore_flags'].tolist() == [False, True]


def test_no_instances():
    results = LoadAnnotations(with_mask=True, with_keypoints=True)({**sample(), 'flip_indices': [1, 0]})
    assert results['gt_bboxes'].shape == (0, 4)
    assert results['gt_bboxes_labels'].shape == results['gt_ignore_flags'].shape == (0,)
    assert results['gt_masks'].masks.shape == (0, 20, 30)
    assert results['gt_keypoints'].shape == (0, 2, 3)


def test_masks_of_every_form():
    bitmap = np.zeros((20, 30), np.uint8, order='F')
    bitmap[5:15, 5:15] = 1
    compressed = coco_mask.encode(bitmap)
    counts = [5 * 20 + 5, *[10, 10] * 9, 10, 305]
    forms = ([SQUARE], compressed, {'counts': counts, 'size': [20, 30]}, [[1, 2, 3, 4]])
    results = LoadAnnotations(with_mask=True)(sample(*(instance(mask=mask) for mask in forms)))
    assert isinstance(results['gt_masks'], BitmapMasks)
    assert results['gt_masks'].areas.tolist() == [100, 100, 100, 0]
    assert np.array_equal(results['gt_masks'].masks[1], bitmap)
    assert results['gt_ignore_flags'].tolist() == [False, False, False, True]

    results = LoadAnnotations(with_mask=True, poly2mask=False)(sample(*(instance(mask=mask) for mask in forms)))
    assert isinstance(results['gt_masks'], PolygonMasks)
    assert results['gt_masks'].areas.tolist() == [100, 0, 0, 0]
    assert results['gt_ignore_flags'].tolist() == [False, True, True, True]


UNUSABLE = (
    [[5, 5, 15, float('nan'), 15, 15]],
    [[5, 5, 15, 5, 15, 15, 7]],
    [['a', 'b', 'c', 'd', 'e', 'f']],
    {'size': [20, 30], 'counts': [5, 5]},
    {'size': [20, 30], 'counts': 'not rle'},
    {'x': 1},
    'text',
)


@pytest.mark.parametrize('poly2mask', [True, False])
def test_an_object_without_a_usable_mask_is_ignored(poly2mask):
    given = [instance(mask=[SQUARE]), instance(), instance(mask=None), *(instance(mask=mask) for mask in UNUSABLE)]
    results = LoadAnnotations(with_mask=True, poly2mask=poly2mask)(sample(*given))
    assert results['gt_masks'].areas.tolist() == [100] + [0] * (len(given) - 1)
    assert results['gt_ignore_flags'].tolist() == [False] + [True] * (len(given) - 1)


def test_run_lengths_of_another_size_than_the_picture_name_it():
    with pytest.raises(
        ImageError, match=r'a\.jpg: its RLE mask is of \(h, w\) = \[10, 10\], the picture of \[20, 30\]'
    ):
        LoadAnnotations(with_mask=True)(sample(instance(mask={'counts': [90, 10], 'size': [10, 10]})))


def test_keypoints():
    points = [[1, 2, 2], [3, 4, 1]]
    flat = [1, 2, 2, 3, 4, 1]
    results = LoadAnnotations(with_keypoints=True)(
        sample(instance(keypoints=points), instance(keypoints=flat), instance())
    )
    assert results['gt_keypoints'].tolist() == [points, points, [[0, 0, 0]] * 2]
    assert results['gt_keypoints'].dtype == np.float32


def test_label_maps(tmp_path):
    seg = np.array([[0, 1, 2], [255, 150, 0]], np.uint8)
    cv2.imwrite(str(tmp_path / 's.png'), seg)
    results = {**sample(), 'seg_map_path': str(tmp_path / 's.png')}
    assert np.array_equal(LoadAnnotations(with_seg=True)(dict(results))['gt_seg_map'], seg)
    reduced = LoadAnnotations(with_seg=True, reduce_zero_label=True)(dict(results))
    assert reduced['gt_seg_map'].tolist() == [[255, 0, 1], [255, 149, 255]]
    assert reduced['ignore_index'] == 255


def test_palette_label_maps_keep_their_indices(tmp_path):
    seg = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), mode='P')
    seg.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    seg.save(tmp_path / 's.png')
    for backend in ('cv2', 'pillow'):
        results = LoadAnnotations(with_seg=True, imdecode_backend=backend)(
            {**sample(), 'seg_map_path': str(tmp_path / 's.png')}
        )
        assert results['gt_seg_map'].tolist() == [[0, 1], [2, 3]]


def test_proposals():
    results = LoadProposals(2)({'proposals': {'bboxes': np.arange(12).reshape(3, 4), 'scores': [0.9, 0.8, 0.7]}})
    assert results['proposals'].tensor[:, 0].tolist() == [0, 4]
    assert results['proposals_scores'].tolist() == pytest.approx([0.9, 0.8])
    assert len(LoadProposals()({'proposals': {'bboxes': []}})['proposals']) == 0
    with pytest.raises(ValueError, match='3 proposals, but 1 scores'):
        LoadProposals()({'proposals': {'bboxes': np.zeros((3, 4)), 'scores': [1]}})


def test_small_instances_are_filtered():
    def make():
        return LoadAnnotations(with_mask=True)(
            sample(
                instance(1, mask=[SQUARE]), {**instance(2, mask=[SQUARE]), 'bbox': [0, 0, 1, 9]}, instance(3, mask=[[]])
            )
        )

    assert FilterAnnotations()(make())['gt_bboxes_labels'].tolist() == [1, 3]
    both = FilterAnnotations(by_mask=True)(make())
    assert both['gt_bboxes_labels'].tolist() == [1]
    assert both['gt_masks'].areas.tolist() == [100]
    assert len(both['gt_bboxes']) == len(both['gt_ignore_flags']) == 1
    assert FilterAnnotations(min_gt_bbox_wh=(50, 50))(make()) is None
    assert len(FilterAnnotations(min_gt_bbox_wh=(50, 50), keep_empty=False)(make())['gt_bboxes']) == 0
    assert FilterAnnotations()(LoadAnnotations()(sample())) is not None
    with pytest.raises(ValueError, match='by_box=True or by_mask=True'):
        FilterAnnotations(by_box=False)
