"""Panoptic quality as a metric."""

import os.path as osp
import re
from collections.abc import Sequence
from functools import cached_property

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.fileio import dump, put

from ...datasets.coco_file import CocoFile, panoptic_annotations
from ...datasets.errors import DataError
from ...datasets.records import same_id
from ...datasets.transforms.panoptic import read_segment_ids
from ...errors import ConfigError
from ...registry import METRICS
from ...structures.panoptic import ids_to_colors, predicted_classes
from ...utils.data_root import rooted
from ..functional.panoptic import PanopticCounts, count_segments, panoptic_quality
from .coco_truth import warn_of_missing_annotations
from .convert import to_numpy
from .tables import log_table


@METRICS.register_module()
class CocoPanopticMetric(BaseMetric):
    """Panoptic, segmentation and recognition quality, in percent (Panoptic Segmentation, arXiv 1801.00868).

    Gives ``coco_panoptic/PQ``, ``SQ`` and ``RQ``, means over all classes that occur, the same of things (``PQ_th``,
    ...) and of stuff (``PQ_st``, ...); -1 where no class occurs. Predictions are ``pred_panoptic_seg`` in the size of
    the original image.

    Args:
        ann_file: Panoptic annotation file. If None, the ground truth is what the samples carry: list 'segments_info'
            and 'seg_map_path' (or 'panoptic_map') in ``PackDetInputs(meta_keys=...)``.
        seg_prefix: Folder of the PNGs that ``ann_file`` names.
        classwise: Report ``coco_panoptic/{class}_PQ`` too.
        format_only: Only write the predictions, for a test server.
        outfile_prefix: Write predictions to ``{outfile_prefix}.panoptic.json`` and the folder
            ``{outfile_prefix}.panoptic``.
        nproc: Kept for configs: an image takes milliseconds, right where it is predicted.
        backend_args: Where annotations are read from, as for ``mmengine.fileio.get``.
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: First part of the result names, 'coco_panoptic' if None.
    """

    default_prefix = 'coco_panoptic'

    def __init__(
        self,
        ann_file: str | None = None,
        seg_prefix: str | None = None,
        classwise: bool = False,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        nproc: int = 32,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if format_only and outfile_prefix is None:
            raise ConfigError('format_only writes predictions to files: set outfile_prefix.')
        if ann_file is not None and seg_prefix is None and not format_only:
            raise ConfigError('seg_prefix, the folder of the PNGs that ann_file names, is missing.')
        self.seg_prefix = rooted(seg_prefix or '')
        self.classwise = classwise
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.backend_args = backend_args
        self.ann_file = ann_file
        self._file = CocoFile(ann_file, backend_args, needs_annotations=False) if ann_file else None
        self._truth_of_images = self._read_annotations() if self._file and not format_only else {}

    def _read_annotations(self) -> dict[str, dict]:
        """The annotation of each image, by ``same_id``; the file itself is not kept."""
        annotations = panoptic_annotations(self._file)
        if self._file.annotations is None:
            warn_of_missing_annotations(self.ann_file)
        self._file.annotations = None
        for annotation in annotations:
            if annotation['file_name'] is None:
                raise DataError(
                    f'{self.ann_file}: the panoptic annotation of image {annotation["image_id"]!r} has no file_name; '
                    f'expected the name of its PNG.'
                )
        return {same_id(annotation['image_id']): annotation for annotation in annotations}

    @property
    def _is_scored(self) -> bool:
        return not self.format_only and (self._file is None or bool(self._truth_of_images))

    def score_names(self, classes: Sequence[str]) -> list[str]:
        """Names of the scores, without the prefix, for a dataset of ``classes``."""
        names = [f'{quality}{group}' for group in _GROUP_NAMES.values() for quality in ('PQ', 'SQ', 'RQ')]
        return names + [f'{name}_PQ' for name in classes if self.classwise]

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        """Count matches of ``data_samples`` (``DetDataSample.to_dict()``), which have ``pred_panoptic_seg``."""
        for sample in data_samples:
            if 'pred_panoptic_seg' not in sample:
                raise DataError(f'CocoPanopticMetric needs pred_panoptic_seg; the sample has {sorted(sample)}.')
            ids = to_numpy(sample['pred_panoptic_seg']['sem_seg'])[0]
            labels = predicted_classes(ids, len(self._classes))
            counts = self._counts(sample, ids, labels) if self._is_scored else None
            written = None if self.outfile_prefix is None else self._write(sample, ids, labels)
            self.results.append((counts, written))

    def compute_metrics(self, results: list[tuple[PanopticCounts | None, dict | None]]) -> dict[str, float]:
        """Quality over all that ``process`` counted."""
        if self.outfile_prefix is not None:
            categories = self._categories_of_file() if self._file else self._categories_of_classes()
            content = {'categories': categories, 'annotations': [written for _, written in results]}
            dump(content, f'{self.outfile_prefix}.panoptic.json')
        if not self._is_scored:
            return {}
        quality = panoptic_quality(sum((counts for counts, _ in results), PanopticCounts.zeros(len(self._classes))))
        things = self._is_thing
        groups = {'': np.ones_like(things), '_th': things, '_st': ~things}
        scores = {f'{key.upper()}{end}': _mean(quality[key][of]) for end, of in groups.items() for key in quality}
        rows = [[name, *(scores[f'{key}{end}'] for key in ('PQ', 'SQ', 'RQ'))] for name, end in _GROUP_NAMES.items()]
        log_table('panoptic quality, %', ['classes', 'PQ', 'SQ', 'RQ'], rows)
        return scores | (self._classwise(quality) if self.classwise else {})

    def _classwise(self, quality: dict[str, np.ndarray]) -> dict[str, float]:
        rows = [[name, *(_mean(quality[key][[i]]) for key in quality)] for i, name in enumerate(self._classes)]
        log_table('panoptic quality of each class, %', ['class', 'PQ', 'SQ', 'RQ'], rows)
        return {f'{name}_PQ': pq for name, pq, *_ in rows}

    @property
    def _classes(self) -> Sequence[str]:
        if not self.dataset_meta or 'classes' not in self.dataset_meta:
            raise ConfigError(
                "CocoPanopticMetric needs dataset_meta['classes'], which the dataset gives the evaluator."
            )
        return self.dataset_meta['classes']

    @property
    def _is_thing(self) -> np.ndarray:
        if 'thing_classes' not in self.dataset_meta:
            raise ConfigError("CocoPanopticMetric needs dataset_meta['thing_classes'], as CocoPanopticDataset has it.")
        return np.isin(self._classes, self.dataset_meta['thing_classes'])

    def _counts(self, sample: dict, ids: np.ndarray, labels: dict[int, int]) -> PanopticCounts:
        truth, segments = self._truth(sample)
        truth_labels = {segment['id']: segment['category'] for segment in segments}
        crowd = [segment['id'] for segment in segments if segment.get('iscrowd', 0)]
        return count_segments(ids, labels, truth, truth_labels, len(self._classes), crowd)

    def _truth(self, sample: dict) -> tuple[np.ndarray, list[dict]]:
        """Annotated segment of each pixel (h, w), and the segments with ``id``, ``category`` (label), ``iscrowd``."""
        if self._file is None:
            return self._truth_of_sample(sample)
        row = self._truth_of_images.get(same_id(sample['img_id']))
        if row is None:
            raise DataError(f'{self.ann_file} has no image with the id {sample["img_id"]} that was predicted.')
        label_of = {same_id(category): label for label, category in enumerate(self._category_ids)}
        known = [segment for segment in row['segments_info'] if same_id(segment['category_id']) in label_of]
        segments = [{**segment, 'category': label_of[same_id(segment['category_id'])]} for segment in known]
        return read_segment_ids(osp.join(self.seg_prefix, row['file_name']), backend_args=self.backend_args), segments

    def _truth_of_sample(self, sample: dict) -> tuple[np.ndarray, list[dict]]:
        ids = sample.get('panoptic_map')
        if 'segments_info' not in sample or (ids is None and not sample.get('seg_map_path')):
            raise ConfigError(
                "Without an ann_file the ground truth is what the samples' metainfo holds: list it in "
                "PackDetInputs(meta_keys=(..., 'segments_info', 'seg_map_path')), or 'panoptic_map' if drawn. "
                f'The sample has {sorted(sample)}.'
            )
        if ids is None:
            ids = read_segment_ids(sample['seg_map_path'], backend_args=self.backend_args)
        return ids, sample['segments_info']

    @cached_property
    def _category_ids(self) -> list[int | str | None]:
        """The category id of each label; None for a class that the annotation file doesn't have."""
        if self._file is None:
            return list(range(len(self._classes)))
        ids: list[int | str | None] = [None] * len(self._classes)
        for category_id, label in self._file.labels(self._classes).items():
            ids[label] = category_id
        return ids

    def _categories_of_file(self) -> list[dict]:
        return [{**category, 'isthing': int(category['isthing'])} for category in self._file.categories]

    def _categories_of_classes(self) -> list[dict]:
        pairs = zip(self._classes, self._is_thing.tolist())
        return [{'id': i, 'name': name, 'isthing': int(thing)} for i, (name, thing) in enumerate(pairs)]

    def _write(self, sample: dict, ids: np.ndarray, labels: dict[int, int]) -> dict:
        """Write the PNG of a prediction, segments numbered from 1 and 0 for none; returns its annotation."""
        numbered = np.zeros(ids.shape, np.int32)
        segments = []
        for number, (segment, label) in enumerate(labels.items(), 1):
            mask = ids == segment
            numbered[mask] = number
            segments.append({'id': number, 'category_id': self._category_ids[label], 'area': int(mask.sum())})
        name = self._name_of_png(sample)
        png = cv2.imencode('.png', ids_to_colors(numbered)[..., ::-1])[1].tobytes()
        put(png, osp.join(f'{self.outfile_prefix}.panoptic', name))
        return {'image_id': sample['img_id'], 'file_name': name, 'segments_info': segments}

    def _name_of_png(self, sample: dict) -> str:
        """The image's name in the annotation file, else its file name with its id, as names repeat across folders."""
        index = self._file.image_places.get(same_id(sample['img_id'])) if self._file else None
        listed = None if index is None else self._file.images[index]['file_name']
        number = same_id(sample['img_id'])
        stem = listed or (f'{osp.basename(sample["img_path"])}_{number}' if sample.get('img_path') else number)
        # No part of a name may lead out of the folder.
        parts = [part for part in re.split(r'[\\/]', stem) if part not in ('', '.', '..')]
        parts[-1] = re.sub(r'\.(jpe?g|png|bmp|tiff?|webp)(?=_|$)', '', parts[-1], flags=re.IGNORECASE)
        return '/'.join(parts) + '.png'


_GROUP_NAMES = {'all': '', 'things': '_th', 'stuff': '_st'}


def _mean(values: np.ndarray) -> float:
    """The mean in percent of what is known; -1 if nothing is."""
    known = values[~np.isnan(values)]
    return 100 * float(known.mean()) if known.size else -1.0
