"""Points that are labeled as inside or outside of their object: PointSup, arXiv 2104.06404."""

import numpy as np

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.seeding import stable_hash
from mmdetlike.registry import TRANSFORMS

from .base import BaseTransform


@TRANSFORMS.register_module()
class LoadMaskPoints(BaseTransform):
    """Load labeled points, which teach masks at a fraction of the cost of drawing them: PointSup, arXiv 2104.06404.

    An instance has ``point_coords`` [[x, y], ...] in pixels and ``point_labels``, 1 for a point of the object and 0 for
    one outside of it. Where it has none, points are drawn from its box and labeled by its mask, which has to be loaded
    before; an image gets the same ones each time. Points that a crop leaves outside of the image lose their label.

    Sets ``gt_points`` (n, num_points, 3) float32: x, y and the label, -1 for a point without one.

    Args:
        num_points: Points of an object; of annotated ones the first so many, filled up without label.
        seed: Of the drawn points.
    """

    role = 'annotations'

    def __init__(self, num_points: int = 10, seed: int = 0) -> None:
        self.num_points = num_points
        self.seed = seed

    def transform(self, results: dict) -> dict:
        instances = results.get('instances', [])
        points = np.full((len(instances), self.num_points, 3), -1, dtype=np.float32)
        generator = np.random.default_rng(stable_hash(self.seed, str(results.get('img_id', results.get('img_path')))))
        for row, instance in enumerate(instances):
            known = self._annotated(instance, results) if 'point_coords' in instance else None
            known = self._drawn(row, results, generator) if known is None else known[: self.num_points]
            points[row, : len(known)] = known
        results['gt_points'] = points
        return results

    def _annotated(self, instance: dict, results: dict) -> np.ndarray:
        coords = np.asarray(instance['point_coords'], dtype=np.float32).reshape(-1, 2)
        labels = np.asarray(instance.get('point_labels', ()), dtype=np.float32)
        if len(labels) != len(coords):
            raise ImageError(
                str(results.get('img_path')),
                f'an object has {len(coords)} point_coords and {len(labels)} point_labels; expected as many',
            )
        return np.concatenate([coords, labels[:, None]], axis=1)

    def _drawn(self, row: int, results: dict, generator: np.random.Generator) -> np.ndarray:
        if results.get('gt_masks') is None:
            raise ImageError(
                str(results.get('img_path')),
                'an object has no point_coords, and no mask to draw points from (LoadAnnotations(with_mask=True))',
            )
        mask = results['gt_masks'][[row]].to_ndarray()[0]
        x1, y1, x2, y2 = results['gt_bboxes'][row].tensor.reshape(-1)[:4].tolist()
        coords = generator.uniform((x1, y1), (x2, y2), (self.num_points, 2))
        columns = coords[:, 0].astype(int).clip(0, mask.shape[1] - 1)
        rows = coords[:, 1].astype(int).clip(0, mask.shape[0] - 1)
        return np.concatenate([coords, mask[rows, columns][:, None]], axis=1)
