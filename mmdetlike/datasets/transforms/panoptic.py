"""Reading panoptic annotations."""

import numpy as np

from mmdetlike.datasets.transforms.image_io import read_image
from mmdetlike.datasets.transforms.loading import LoadAnnotations
from mmdetlike.datasets.transforms.recorded_size import fit_label_map
from mmdetlike.registry import TRANSFORMS
from mmdetlike.structures.mask import BitmapMasks
from mmdetlike.structures.panoptic import colors_to_ids

IGNORED = 255


@TRANSFORMS.register_module()
class LoadPanopticAnnotations(LoadAnnotations):
    """Turn the segments of a sample, numbered by a PNG or by ``panoptic_map``, into masks and a map of classes.

    The segment of a pixel is R + 256 G + 65536 B (arXiv 1801.00868). Of ``segments_info`` each entry has ``id``,
    ``category`` (the label) and ``is_thing``; those with ``is_thing`` are ``instances``, in the same order.

    Sets ``panoptic_map`` (h, w), which later transforms leave as it is, ``gt_bboxes`` (n, 4), ``gt_ignore_flags`` (n,)
    bool, ``gt_bboxes_labels`` (n,) int64, ``gt_masks`` (`BitmapMasks` of things) and ``gt_seg_map`` (h, w) uint8: the
    labels of things and stuff, 255 for neither.

    Args:
        with_bbox: Load boxes of things.
        with_label: Load labels of things.
        with_mask: Load masks of things.
        with_seg: Load the map of classes.
        box_type: The class of ``gt_bboxes``, by the name that it is registered as; None for `HorizontalBoxes`.
        imdecode_backend: 'cv2' or 'pillow', for the PNG.
        backend_args: Where files are, as ``mmengine.fileio`` takes it.

    Raises:
        ImageError: There is no such PNG, or it isn't a whole picture.
        ConfigError: The sample is not one of a panoptic dataset.
    """

    def __init__(
        self,
        with_bbox: bool = True,
        with_label: bool = True,
        with_mask: bool = True,
        with_seg: bool = True,
        box_type: str | None = 'hbox',
        imdecode_backend: str = 'cv2',
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(
            with_bbox=with_bbox,
            with_label=with_label,
            with_mask=with_mask,
            with_seg=with_seg,
            box_type=box_type,
            imdecode_backend=imdecode_backend,
            backend_args=backend_args,
        )
        self.needs = ('segments_info',)

    def transform(self, results: dict) -> dict:
        if self.with_mask or self.with_seg:
            results['panoptic_map'] = self._ids(results)
        return super().transform(results)

    def load_masks(self, results: dict, instances: list[dict]) -> None:
        ids = results['panoptic_map']
        things = [segment['id'] for segment in results['segments_info'] if segment['is_thing']]
        if len(things) != len(instances):
            raise ValueError(f'{results.get("img_path")} has {len(instances)} instances but {len(things)} things.')
        results['gt_masks'] = BitmapMasks([(ids == number).astype(np.uint8) for number in things], *ids.shape)

    def load_seg_map(self, results: dict) -> None:
        ids = results['panoptic_map']
        label_of = {segment['id']: segment['category'] for segment in results['segments_info']}
        numbers, inverse = np.unique(ids, return_inverse=True)
        labels = np.array([label_of.get(number, IGNORED) for number in numbers.tolist()], dtype=np.uint8)
        results['gt_seg_map'] = labels[inverse].reshape(ids.shape)
        results['ignore_index'] = IGNORED

    def _ids(self, results: dict) -> np.ndarray:
        """(h, w) the segment of each pixel."""
        if results.get('panoptic_map') is not None:
            return results['panoptic_map']
        path = results['seg_map_path']
        return fit_label_map(read_segment_ids(path, self.imdecode_backend, self.backend_args), results, path)


def read_segment_ids(path: str, backend: str = 'cv2', backend_args: dict | None = None) -> np.ndarray:
    """Read the segment numbers (h, w) int32 that a picture stores as R + 256 G + 65536 B.

    Raises:
        ImageError: There is no such file, or it isn't a whole picture.
    """
    return colors_to_ids(read_image(path, 'color', backend, backend_args)[..., ::-1])
