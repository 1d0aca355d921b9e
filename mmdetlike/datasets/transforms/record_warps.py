"""Keeping what a pipeline does to the geometry of a sample."""

from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.warp_list import WarpList


@TRANSFORMS.register_module()
class RecordWarps(BaseTransform):
    """Keep the maps of all later steps as ``warps``, a `WarpList`, to apply them to other data or to undo them.

    ``PackDetInputs(meta_keys=(..., 'warps'))`` hands them on. Steps that mix pictures or move parts of one, as
    ``Mosaic``, have no such map.
    """

    def transform(self, results: dict) -> dict:
        results['warps'] = WarpList()
        return results
