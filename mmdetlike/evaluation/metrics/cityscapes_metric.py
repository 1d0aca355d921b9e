"""Average precision of instances by the rules of Cityscapes."""

import os.path as osp
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import get, put
from pycocotools.mask import decode

from ...datasets.errors import DataError
from ...errors import ConfigError
from ...registry import METRICS
from ..functional.cityscapes import INSTANCE_CLASSES, OVERLAPS, ImageMatches, average_precision, match_image
from .convert import encode_masks, to_numpy
from .tables import log_table

_PICTURE = 'leftImg8bit.png'
_TRUTH = 'gtFine_instanceIds.png'


@METRICS.register_module()
class CityScapesMetric(BaseMetric):
    """Average precision of masks as ``cityscapesscripts`` computes it (arXiv:1604.01685).

    Gives ``cityscapes/mAP``, the mean over overlaps 0.5 to 0.95, and ``AP@50``, means over the classes that are
    annotated somewhere. The truth of ``.../CITY/NAME_leftImg8bit.png`` is ``CITY/NAME_gtFine_instanceIds.png``.

    Args:
        outfile_prefix: The folder into which predictions are written as the benchmark's server takes them: for each
            image ``NAME_leftImg8bit_pred.txt``, with a line for each mask: its PNG, the id of its class, its score.
        seg_prefix: The folder with the truth, that of the cities; by default that of the pictures, with ``gtFine`` in
            place of ``leftImg8bit``.
        format_only: Only write predictions.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: First part of the result names, 'cityscapes' if None.
        backend_args: Where truth is read from and predictions are written to, as for ``mmengine.fileio.get``.

    Raises:
        ConfigError: There is no ``outfile_prefix``, or the dataset has a class without instances in Cityscapes.
        DataError: The truth of an image is of another size, or no image.
    """

    default_prefix = 'cityscapes'

    def __init__(
        self,
        outfile_prefix: str,
        seg_prefix: str | None = None,
        format_only: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not isinstance(outfile_prefix, str) or not outfile_prefix:
            raise ConfigError(
                f'CityScapesMetric: outfile_prefix={outfile_prefix!r} should be the folder for predictions.'
            )
        self.outfile_prefix = osp.expanduser(outfile_prefix)
        self.seg_prefix = seg_prefix
        self.format_only = format_only
        self.backend_args = backend_args

    def score_names(self, classes: Sequence[str]) -> list[str]:
        """Names of the scores, without the prefix; ``classes`` make no difference."""
        return ['mAP', 'AP@50']

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Write the masks of ``data_samples`` (``DetDataSample.to_dict()``) and compare them with the truth."""
        class_ids = self._class_ids()
        for sample in data_samples:
            instances = sample['pred_instances']
            if 'masks' not in instances:
                raise ConfigError('CityScapesMetric scores masks, but the model predicts none.')
            masks = [decode(mask).astype(bool) for mask in encode_masks(instances['masks'])]
            scores = to_numpy(instances['scores'])
            of_masks = class_ids[to_numpy(instances['labels']).astype(int)]
            self._write(sample['img_path'], masks, of_masks, scores)
            self.results.append(None if self.format_only else self._matches(sample, masks, of_masks, scores))

    def _class_ids(self) -> np.ndarray:
        names = (self.dataset_meta or {}).get('classes', ())
        unknown = [name for name in names if name not in INSTANCE_CLASSES]
        if unknown or not names:
            raise ConfigError(
                f'CityScapesMetric knows instances of {", ".join(INSTANCE_CLASSES)}; the dataset has the classes '
                f'{", ".join(unknown) or "none"}.'
            )
        return np.array([INSTANCE_CLASSES[name] for name in names])

    def _matches(self, sample: dict, masks: Sequence[np.ndarray], class_ids: np.ndarray, scores: np.ndarray) -> dict:
        path = self.truth_path(sample['img_path'])
        content = np.frombuffer(get(path, backend_args=self.backend_args), np.uint8)
        ids = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
        if ids is None or ids.ndim != 2:
            raise DataError(f'{path}: expected a gray image of 16 bits, the instance id of each pixel.')
        sizes = {mask.shape for mask in masks} - {ids.shape}
        if sizes:
            raise DataError(f'{path} has height and width {ids.shape}, but masks predicted for it have {sizes.pop()}.')
        return match_image(ids, masks, class_ids, scores)

    def truth_path(self, img_path: str) -> str:
        """The file with the annotated instances of a picture.

        Raises:
            DataError: The picture isn't called as those of Cityscapes.
        """
        path = Path(img_path)
        if not path.name.endswith(_PICTURE):
            raise DataError(f'{img_path}: expected a name that ends in {_PICTURE}, as pictures of Cityscapes have.')
        name = path.name.removesuffix(_PICTURE) + _TRUTH
        if self.seg_prefix is not None:
            return osp.join(self.seg_prefix, path.parent.name, name)
        folders = ['gtFine' if part == 'leftImg8bit' else part for part in path.parent.parts]
        return osp.join(*folders, name)

    def _write(self, img_path: str, masks: Sequence[np.ndarray], class_ids: np.ndarray, scores: np.ndarray) -> None:
        stem = Path(img_path).stem
        lines = []
        for i, (mask, class_id, score) in enumerate(zip(masks, class_ids, scores)):
            png = cv2.imencode('.png', mask.astype(np.uint8) * 255)[1].tobytes()
            self._put(png, f'{stem}_{i}.png')
            lines.append(f'{stem}_{i}.png {class_id} {score}\n')
        self._put(''.join(lines).encode(), f'{stem}_pred.txt')

    def _put(self, content: bytes, name: str) -> None:
        put(content, osp.join(self.outfile_prefix, name), backend_args=self.backend_args)

    def compute_metrics(self, results: list[dict[int, ImageMatches] | None]) -> dict[str, float]:
        """Scores over all that ``process`` compared; -1 if nothing is annotated."""
        if self.format_only:
            return {}
        rows = []
        for name, class_id in INSTANCE_CLASSES.items():
            of_class = [image[class_id] for image in results]
            values = np.array([average_precision(of_class, overlap) for overlap in OVERLAPS])
            rows.append((name, float(values.mean()), float(values[0])))
        log_table('masks by Cityscapes', ['class', 'AP', 'AP@50'], rows)
        return {'mAP': _mean([row[1] for row in rows]), 'AP@50': _mean([row[2] for row in rows])}


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else -1.0
