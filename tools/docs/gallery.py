"""The pictures of docs/transforms.md: what each transform does to a picture with objects.

    python tools/docs/gallery.py [NAME ...]    # paints all, or some, into docs/images/transforms

Pictures aren't compared byte by byte with what is there, since libraries round in their own ways.
"""

import argparse
import copy
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from mmdetlike.datasets import ShapesDataset
from mmdetlike.datasets.transforms import LoadAnnotations
from mmdetlike.registry import TRANSFORMS
from mmdetlike.utils import register_all_modules
from mmdetlike.visualization.draw import draw_instances

IMAGES = Path(__file__).parents[2] / 'docs/images/transforms'
ORIGINAL = 'original'
SIZE = (120, 160)  # (h, w) of the pictures that go in
TILE = (112, 150)  # largest (h, w) of one that is shown
DRAWS = 3
QUALITY = 72
FLIP = dict(type='RandomFlip', prob=1.0)
ROTATE = dict(type='Rotate')
BRIGHTER = dict(type='Brightness')
# Heading -> type -> arguments of the transform that is shown.
GROUPS: dict[str, dict[str, dict]] = {
    'Sizes': {
        'Resize': dict(scale=(80, 120)),
        'FixScaleResize': dict(scale=(100, 80), keep_ratio=True),
        'FixShapeResize': dict(width=110, height=110, keep_ratio=True),
        'RandomResize': dict(scale=(160, 120), ratio_range=(0.4, 1.0), keep_ratio=True),
        'RandomChoiceResize': dict(scales=[(160, 60), (60, 120), (80, 80)]),
        'ResizeShortestEdge': dict(scale=80),
        'Pad': dict(size_divisor=64, pad_val=114),
        'Expand': dict(prob=1.0, mean=(124, 116, 104), ratio_range=(1, 2)),
    },
    'Parts': {
        'RandomCrop': dict(crop_size=(0.6, 0.6), crop_type='relative'),
        'CenterCrop': dict(crop_size=(90, 80)),
        'MinIoURandomCrop': dict(),
        'RandomCenterCropPad': dict(crop_size=(128, 128), mean=(124, 116, 104), std=(1, 1, 1), to_rgb=True),
        'FixedSizeCrop': dict(crop_size=(120, 140)),
    },
    'Places': {
        'RandomFlip': dict(prob=1.0, direction=['horizontal', 'vertical', 'diagonal']),
        'RandomShift': dict(prob=1.0),
        'RandomAffine': dict(max_rotate_degree=30.0),
        'Rotate': dict(),
        'RandomRotation': dict(angle=(-45, 45)),
        'RandomExtent': dict(scale_range=(0.6, 1.4), shift_range=(0.4, 0.4)),
        'ShearX': dict(),
        'ShearY': dict(),
        'TranslateX': dict(max_mag=0.3),
        'TranslateY': dict(max_mag=0.3),
    },
    'Several pictures': {
        'Mosaic': dict(img_scale=(160, 120)),
        'CachedMosaic': dict(img_scale=(160, 120), max_cached_images=6),
        'MixUp': dict(img_scale=(160, 120)),
        'CachedMixUp': dict(img_scale=(160, 120), max_cached_images=6),
        'CopyPaste': dict(),
        'InstaBoost': dict(dx=3, dy=3, theta=(-30, 30), aug_ratio=1.0),
    },
    'Colors': {
        'PhotoMetricDistortion': dict(),
        'YOLOXHSVRandomAug': dict(hue_delta=15, saturation_delta=80, value_delta=80),
        'RandomGrayscale': dict(prob=0.7, keep_channels=True),
        'Color': dict(),
        'Brightness': dict(),
        'Contrast': dict(),
        'RandomBrightness': dict(intensity_min=0.5, intensity_max=1.6),
        'RandomContrast': dict(intensity_min=0.3, intensity_max=1.7),
        'RandomSaturation': dict(intensity_min=0.0, intensity_max=2.0),
        'RandomLighting': dict(scale=1.0),
        'Sharpness': dict(max_mag=5.0),
        'Equalize': dict(),
        'AutoContrast': dict(),
        'Invert': dict(),
        'Posterize': dict(),
        'Solarize': dict(),
        'SolarizeAdd': dict(),
        'Corrupt': dict(corruption='motion_blur', severity=3),
    },
    'Hidden parts': {
        'CutOut': dict(n_holes=(3, 6), cutout_ratio=(0.2, 0.2)),
        'RandomErasing': dict(n_patches=(2, 4), ratio=(0.1, 0.35)),
    },
    'Policies and other packages': {
        'AutoAugment': dict(),
        'RandAugment': dict(),
        'RandomApply': dict(transforms=[FLIP, ROTATE], prob=0.5),
        'RandomChoice': dict(transforms=[[FLIP], [ROTATE], [BRIGHTER]]),
        'RandomOrder': dict(transforms=[FLIP, ROTATE, BRIGHTER]),
        'Albu': dict(transforms=[dict(type='Perspective', p=1.0), dict(type='RandomRain', p=0.5)]),
    },
}
SHOWN = {name: arguments for group in GROUPS.values() for name, arguments in group.items()}
PACKAGES = {'Albu': 'albumentations', 'Corrupt': 'imagecorruptions'}


def samples() -> list[dict]:
    """The first is what goes in, the others are for transforms that mix."""
    dataset = ShapesDataset(length=6, seed=4, image_size=SIZE, pipeline=[dict(type='LoadShapesImage')])
    return [dataset[index] for index in range(6)]


def load(sample: dict) -> dict:
    """Annotations of a sample whose picture is loaded."""
    return LoadAnnotations(with_mask=True)(copy.deepcopy(sample))


def draw_once(name: str, arguments: dict, seed: int) -> dict:
    """A sample that went through the transform."""
    first, *others = samples()
    transform = TRANSFORMS.build(dict(type=name, **copy.deepcopy(arguments)))
    np.random.seed(seed)
    if name == 'InstaBoost':  # which works before annotations are loaded
        return load(transform(first))
    sample = load(first)
    if hasattr(transform, 'results_cache'):
        transform.results_cache.extend(load(other) for other in others)
    else:
        sample['mix_results'] = [load(other) for other in others[: getattr(transform, 'num_others', 0)]]
    return transform(sample) or draw_once(name, arguments, seed + 100)


def tile(results: dict) -> np.ndarray:
    """A sample drawn with its objects, on white, of ``TILE``; shrunk as the original is, larger ones until they fit."""
    instances = dict(bboxes=results['gt_bboxes'], labels=results['gt_bboxes_labels'], masks=results['gt_masks'])
    drawn = draw_instances(results['img'], instances)
    height, width = drawn.shape[:2]
    factor = min(TILE[0] / SIZE[0], TILE[0] / height, TILE[1] / width)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    canvas = np.full((*TILE, 3), 255, np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    return canvas


def paint(name: str) -> np.ndarray:
    """What a transform makes of the picture in several draws, side by side."""
    if name == ORIGINAL:
        return tile(load(samples()[0]))
    gap = np.full((TILE[0], 6, 3), 255, np.uint8)
    tiles = [tile(draw_once(name, SHOWN[name], seed)) for seed in range(DRAWS)]
    parts = [part for each in tiles for part in (each, gap)]
    return np.concatenate(parts[:-1], axis=1)


def main() -> None:
    """Write the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', default=[ORIGINAL, *SHOWN], help='transforms; all of them by default')
    args = parser.parse_args()
    register_all_modules()
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        if name in PACKAGES and find_spec(PACKAGES[name]) is None:
            print(f'{name} is left as it is: {PACKAGES[name]} is not installed')
            continue
        cv2.imwrite(str(IMAGES / f'{name}.jpg'), paint(name), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == '__main__':
    main()
