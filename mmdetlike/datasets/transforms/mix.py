"""Transforms that combine several samples into one: mosaic, mixup, copy-paste."""

import copy
from abc import abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np

from mmdetlike.datasets.transforms.base import BaseTransform, check_probability, check_range, image_size
from mmdetlike.datasets.transforms.geometric import visible
from mmdetlike.datasets.transforms.instances import Edge, apply_warp, select_instances
from mmdetlike.datasets.transforms.mix_parts import (
    Size,
    bitmaps,
    blank_like,
    check_images,
    check_label_maps,
    check_scale,
    fit_into,
    has_objects,
    join,
    put_on_canvas,
    shared_fields,
)
from mmdetlike.datasets.transforms.sample_copy import copy_for
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.bbox import geometry
from mmdetlike.structures.mask import BitmapMasks
from mmdetlike.structures.warp import Warp


class MixTransform(BaseTransform):
    """Combine a sample with others, which `get_indexes` draws and `mix` joins to it as ``results['mix_results']``.

    Args:
        prob: Probability of doing anything.
    """

    num_others = 1
    needs = ('img',)

    def __init__(self, prob: float = 1.0) -> None:
        self.prob = check_probability(prob)

    def get_indexes(self, dataset: Sequence) -> list[int]:
        """Draw the indices of the other samples from ``dataset``."""
        return [np.random.randint(len(dataset)) for _ in range(self.num_others)]

    @abstractmethod
    def mix(self, results: dict, others: list[dict]) -> dict:
        """Join ``others`` to ``results``; all of them may be changed."""

    def transform(self, results: dict) -> dict:
        """Mix or leave as it is.

        Raises:
            ValueError: ``mix_results`` is missing or of another length.
            ConfigError: Images differ in type or channels.
        """
        if np.random.uniform() >= self.prob:
            return results
        others = results.get('mix_results') or []
        if len(others) != self.num_others:
            raise ValueError(
                f'{type(self).__name__} needs {self.num_others} samples in mix_results, got {len(others)}; put it into '
                'the pipeline of a MultiImageMixDataset, or use its Cached version'
            )
        check_images([results, *others])
        return self.mix(results, others)


class SampleCache:
    """Mixin of transforms that draw the other samples from the last ones seen in this process, not from the dataset.

    What is drawn depends on the samples seen before, so on the number of worker processes too.
    """

    def _init_cache(self, max_cached_images: int, random_pop: bool) -> None:
        least = self.num_others + 1
        if max_cached_images < least:
            raise ValueError(f'max_cached_images must be at least {least}, got {max_cached_images}')
        self.max_cached_images = max_cached_images
        self.random_pop = random_pop
        self.results_cache: list[dict] = []

    def transform(self, results: dict) -> dict:
        """Store a copy of the sample; mix it with others once there are enough."""
        cache = self.results_cache
        cache.append(copy.deepcopy(results))
        if len(cache) > self.max_cached_images:
            cache.pop(np.random.randint(len(cache) - 1) if self.random_pop else 0)  # never the one just added
        if len(cache) <= self.num_others or np.random.uniform() >= self.prob:
            return results
        others = [copy_for(self, cache[index]) for index in self.get_indexes(cache)]
        check_images([results, *others])
        return self.mix(results, others)


@TRANSFORMS.register_module()
class Mosaic(MixTransform):
    """Four images around a random point of a canvas of twice the size (YOLOv4, arXiv 2004.10934).

    Each image is resized to fit into ``img_scale`` and touches the point with one corner; what leaves the canvas is
    cut. Boxes, masks, keypoints and label maps follow; instances that are wholly outside are dropped.

    Args:
        img_scale: (w, h) that images are fit into.
        center_ratio_range: (lower, upper) of the point's coordinates, as a fraction of ``img_scale``.
        bbox_clip_border: Cut boxes to the canvas.
        pad_val: Value of the canvas.
        prob: Probability of making a mosaic.
    """

    keeps_images = True

    num_others = 3

    def __init__(
        self,
        img_scale: Size = (640, 640),
        center_ratio_range: tuple[float, float] = (0.5, 1.5),
        bbox_clip_border: bool = True,
        pad_val: float = 114.0,
        prob: float = 1.0,
    ) -> None:
        super().__init__(prob)
        self.img_scale = check_scale(img_scale)
        self.center_ratio_range = check_range('center_ratio_range', center_ratio_range)
        self.bbox_clip_border = bbox_clip_border
        self.pad_val = pad_val

    def mix(self, results: dict, others: list[dict]) -> dict:
        width, height = self.img_scale
        low, high = self.center_ratio_range
        x = int(np.random.uniform(low, high) * width)
        y = int(np.random.uniform(low, high) * height)
        edge = Edge(img=self.pad_val, clip=self.bbox_clip_border)
        samples = [results, *others]
        check_label_maps(samples)
        canvas = blank_like(results, (2 * height, 2 * width), edge)
        for sample, (right, below) in zip(samples, ((0, 0), (1, 0), (0, 1), (1, 1))):
            fit_into(sample, self.img_scale, edge)
            h, w = image_size(sample)
            put_on_canvas(sample, canvas, x if right else x - w, y if below else y - h, edge)
        return {**join(samples), **canvas}


@TRANSFORMS.register_module()
class CachedMosaic(SampleCache, Mosaic):
    """`Mosaic` of images seen before, which needs no dataset and reads nothing twice (RTMDet, arXiv 2212.07784).

    Args:
        img_scale: See `Mosaic`, as the next four.
        center_ratio_range: See `Mosaic`.
        bbox_clip_border: See `Mosaic`.
        pad_val: See `Mosaic`.
        prob: See `Mosaic`.
        max_cached_images: Images that are kept, at least 4.
        random_pop: Forget a random one, not the oldest.
    """

    keeps_images = True

    def __init__(
        self,
        img_scale: Size = (640, 640),
        center_ratio_range: tuple[float, float] = (0.5, 1.5),
        bbox_clip_border: bool = True,
        pad_val: float = 114.0,
        prob: float = 1.0,
        max_cached_images: int = 40,
        random_pop: bool = True,
    ) -> None:
        super().__init__(img_scale, center_ratio_range, bbox_clip_border, pad_val, prob)
        self._init_cache(max_cached_images, random_pop)


@TRANSFORMS.register_module()
class MixUp(MixTransform):
    """Average an image with another one that has objects, at a random scale and position (YOLOX, arXiv 2107.08430).

    The other image is fit into ``img_scale``, padded to it, resized by a random factor, flipped, and cut or padded to
    the size of the first. Instances of both are kept; those of the other that are wholly outside are dropped. The
    label map stays that of the first.

    Args:
        img_scale: (w, h) that the other image is fit into.
        ratio_range: (lower, upper) of the factor.
        flip_ratio: Probability of mirroring the other image.
        pad_val: Value of padding.
        max_iters: How often to draw another image if one has no objects.
        bbox_clip_border: Cut boxes to the image.
        prob: Probability of doing anything.
    """

    keeps_images = True

    needs = ('img', 'gt_bboxes')

    def __init__(
        self,
        img_scale: Size = (640, 640),
        ratio_range: tuple[float, float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float | tuple[float, ...] = 114.0,
        max_iters: int = 15,
        bbox_clip_border: bool = True,
        prob: float = 1.0,
    ) -> None:
        super().__init__(prob)
        self.img_scale = check_scale(img_scale)
        self.ratio_range = check_range('ratio_range', ratio_range)
        self.flip_ratio = check_probability(flip_ratio, 'flip_ratio')
        self.pad_val = pad_val
        self.max_iters = max_iters
        self.bbox_clip_border = bbox_clip_border

    def get_indexes(self, dataset: Sequence) -> list[int]:
        """Draw the index of a sample with objects; after ``max_iters`` failures it may be any sample."""
        for _ in range(self.max_iters):
            index = np.random.randint(len(dataset))
            if has_objects(dataset, index):
                break
        return [index]

    def mix(self, results: dict, others: list[dict]) -> dict:
        other = others[0]
        if not len(other['gt_bboxes']):
            return results
        size = image_size(results)
        edge = Edge(img=self.pad_val, clip=self.bbox_clip_border)
        fit_into(other, self.img_scale, edge)
        for warp in self._draw_warps(image_size(other), size):
            apply_warp(other, warp, edge, visible)
        img = cv2.addWeighted(results['img'], 0.5, other['img'], 0.5, 0)
        img = img.reshape(results['img'].shape)  # OpenCV drops a lone channel
        return {**join([results, other]), 'img': img}

    def _draw_warps(self, old: Size, target: Size) -> list[Warp]:
        """Draw the warps, one after the other, from the fitted image of (h, w) ``old`` to one of ``target``."""
        padded = (self.img_scale[1], self.img_scale[0])
        ratio = np.random.uniform(*self.ratio_range)
        jittered = tuple(max(int(side * ratio), 1) for side in padded)
        warps = [Warp.window(old, 0, 0, *padded), Warp.resize(padded, jittered)]
        if np.random.uniform() < self.flip_ratio:
            warps.append(Warp.flip(jittered))
        y0, x0 = (np.random.randint(max(have - want, 0) + 1) for have, want in zip(jittered, target))
        return [*warps, Warp.window(jittered, x0, y0, *target)]


@TRANSFORMS.register_module()
class CachedMixUp(SampleCache, MixUp):
    """`MixUp` with an image seen before, which needs no dataset and reads nothing twice (RTMDet, arXiv 2212.07784).

    Args:
        img_scale: See `MixUp`, as the next five.
        ratio_range: See `MixUp`.
        flip_ratio: See `MixUp`.
        pad_val: See `MixUp`.
        max_iters: See `MixUp`.
        bbox_clip_border: See `MixUp`.
        max_cached_images: Images that are kept, at least 2.
        random_pop: Forget a random one, not the oldest.
        prob: See `MixUp`.
    """

    keeps_images = True

    def __init__(
        self,
        img_scale: Size = (640, 640),
        ratio_range: tuple[float, float] = (0.5, 1.5),
        flip_ratio: float = 0.5,
        pad_val: float | tuple[float, ...] = 114.0,
        max_iters: int = 15,
        bbox_clip_border: bool = True,
        max_cached_images: int = 20,
        random_pop: bool = True,
        prob: float = 1.0,
    ) -> None:
        super().__init__(img_scale, ratio_range, flip_ratio, pad_val, max_iters, bbox_clip_border, prob)
        self._init_cache(max_cached_images, random_pop)


@TRANSFORMS.register_module()
class CopyPaste(MixTransform):
    """Paste objects of another image of the same size (Simple Copy-Paste, arXiv 2012.07177).

    What lies under them is covered: its boxes become those around what is left of the masks, and instances that are all
    but covered are dropped. In samples without masks, objects are pasted and covered with the whole of their boxes.

    Args:
        max_num_pasted: Largest number of objects.
        bbox_occluded_thr: An instance stays if its box moved by no more than so many pixels,
        mask_occluded_thr: or if more than so many pixels of its mask are left.
        selected: Paste a random choice of the objects, not all of them.
        paste_by_box: Paste whole boxes, not masks.
    """

    keeps_images = True

    needs = ('img', 'gt_bboxes')

    def __init__(
        self,
        max_num_pasted: int = 100,
        bbox_occluded_thr: int = 10,
        mask_occluded_thr: int = 300,
        selected: bool = True,
        paste_by_box: bool = False,
    ) -> None:
        super().__init__()
        self.max_num_pasted = max_num_pasted
        self.bbox_occluded_thr = bbox_occluded_thr
        self.mask_occluded_thr = mask_occluded_thr
        self.selected = selected
        self.paste_by_box = paste_by_box

    def mix(self, results: dict, others: list[dict]) -> dict:
        other = others[0]
        if image_size(other) != image_size(results):
            raise ValueError(
                f'CopyPaste needs two images of one size, got {image_size(results)} and {image_size(other)}; crop and '
                'pad them before'
            )
        has_masks = 'gt_masks' in shared_fields([results, other])
        for sample in (results, other):
            by_box = not has_masks or (self.paste_by_box and sample is other)
            sample['gt_masks'] = bitmaps(sample, by_box)
        pasted = self._paste(results, other)
        if not has_masks:  # those above only stood in for the boxes
            del pasted['gt_masks']
        return pasted

    def _paste(self, results: dict, other: dict) -> dict:
        if self.selected:
            select_instances(other, self._draw_objects(len(other['gt_bboxes'])))
        pasted = other['gt_masks'].masks.any(axis=0)
        if not pasted.any():
            return results
        self._cover(results, pasted)
        img = results['img'].copy()
        img[pasted] = other['img'][pasted]
        if 'gt_seg_map' in results and 'gt_seg_map' in other:
            results['gt_seg_map'] = np.where(pasted, other['gt_seg_map'], results['gt_seg_map'])
        return {**join([results, other]), 'img': img}

    def _draw_objects(self, count: int) -> np.ndarray:
        keep = np.zeros(count, dtype=bool)
        number = np.random.randint(min(count, self.max_num_pasted) + 1)
        keep[np.random.choice(count, number, replace=False)] = True
        return keep

    def _cover(self, results: dict, pasted: np.ndarray) -> None:
        """Take the ``pasted`` pixels (h, w) bool from masks and boxes; drop instances of which too little is left."""
        height, width = pasted.shape
        left = BitmapMasks(results['gt_masks'].masks * ~pasted, height, width)
        boxes = type(results['gt_bboxes']).from_instance_masks(left)
        untouched = left.areas == results['gt_masks'].areas
        boxes.tensor[untouched] = results['gt_bboxes'].tensor[untouched]  # annotated boxes may lie between pixels
        before = geometry.to_horizontal(results['gt_bboxes'].tensor)
        after = geometry.to_horizontal(boxes.tensor)
        moved = (after - before).abs().amax(dim=1)
        stays = (moved <= self.bbox_occluded_thr).numpy() | (left.areas > self.mask_occluded_thr)
        results.update(gt_masks=left, gt_bboxes=boxes)
        select_instances(results, stays)
