"""Boxes around masks."""

from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.instances import boxes_from_masks
from mmdetlike.registry import TRANSFORMS


@TRANSFORMS.register_module()
class BoxesFromMasks(BaseTransform):
    """Put boxes around masks, at the end of a pipeline: a box that was rotated or cropped is larger than its object.

    Instances whose mask is empty are dropped. Detectron2 calls it ``recompute_boxes``.
    """

    needs = ('gt_bboxes', 'gt_masks')

    def transform(self, results: dict) -> dict:
        boxes_from_masks(results)
        return results
