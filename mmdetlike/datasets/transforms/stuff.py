"""Reading label maps of stuff."""

import numpy as np

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms.base import BaseTransform
from mmdetlike.datasets.transforms.image_io import read_label_map
from mmdetlike.datasets.transforms.recorded_size import fit_label_map
from mmdetlike.registry import TRANSFORMS

IGNORED = 255


@TRANSFORMS.register_module()
class LoadStuffMap(BaseTransform):
    """Load a label map in which all things are 0 and stuff counts from 1, as classes: things first, stuff after them.

    Pixels of things have the class of their object, where masks are loaded before (of objects that overlap, the last
    one's), else class 0: heads of Panoptic FPN tell things from stuff, not from each other. Pixels of 255 stay.

    Sets ``gt_seg_map`` (h, w) uint8.

    Args:
        num_things: Classes of things; None for what ``CocoSeparatedPanopticDataset`` says.
        imdecode_backend: 'cv2' or 'pillow'.
        backend_args: Where files are, as ``mmengine.fileio`` takes it.

    Raises:
        ImageError: There is no such map, it isn't a whole picture, or nobody says how many things there are.
    """

    role = 'annotations'
    needs = ('seg_map_path',)

    def __init__(
        self, num_things: int | None = None, imdecode_backend: str = 'cv2', backend_args: dict | None = None
    ) -> None:
        self.num_things = num_things
        self.imdecode_backend = imdecode_backend
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = results['seg_map_path']
        num_things = results.get('num_things') if self.num_things is None else self.num_things
        if num_things is None:
            raise ImageError(str(path), 'LoadStuffMap needs num_things, which this dataset does not say')
        labels = fit_label_map(read_label_map(path, self.imdecode_backend, self.backend_args), results, path)
        classes = np.where(labels == IGNORED, IGNORED, labels.astype(np.int64) + num_things - 1)
        classes[labels == 0] = 0
        if results.get('gt_masks') is not None:
            masks = results['gt_masks'].to_ndarray().astype(bool)
            for mask, label in zip(masks, results['gt_bboxes_labels']):
                classes[mask & (labels == 0)] = label
        results['gt_seg_map'] = classes.astype(np.uint8)
        results['ignore_index'] = IGNORED
        return results
