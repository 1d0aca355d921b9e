"""The ground truth of a COCO file, as ``CocoMetric`` scores against it."""

import ctypes
import pickle
from collections.abc import Mapping, Sequence

import numpy as np

from ...datasets.annotations import shortened
from ...datasets.coco_file import CocoFile, ObjectColumns
from ...datasets.errors import DataError, SkipReport, warn
from ...datasets.records import same_id
from ...structures.mask import encode_segmentation, read_segmentation
from .convert import area_of_mask

# objects whose memory, some 20 MB, is worth less than the tenth of a second that giving it back takes
FEW = 20_000


class CocoTruth:
    """Images, categories and objects of an annotation file, by the rules that ``CocoDataset`` reads it by.

    Only what is scored is kept: a file of 100 MB is 400 MB of Python objects.

    Args:
        ann_file: The file.
        backend_args: Where it is read from, as for ``mmengine.fileio.get``.
        masks: Keep masks, run-length encoded.
        keypoints: Keep keypoints.

    Attributes:
        has_annotations: False for a file of a test set without any.

    Raises:
        DataError: The file can't be used, or has objects but none with masks (keypoints), which are asked for.
    """

    file_type = CocoFile

    def __init__(self, ann_file: str, backend_args: dict | None, masks: bool, keypoints: bool) -> None:
        self.ann_file = ann_file
        self._told = False
        self._file = self.file_type(ann_file, backend_args, needs_annotations=False)
        self.has_annotations = self._file.annotations is not None
        report = SkipReport(f'CocoMetric, {ann_file}')
        self._objects = self._file.objects(report)
        self._reduce(report, masks, keypoints)
        report.warn()
        self._move_together()

    def _move_together(self) -> None:
        """Copy what is kept, so that it lies together in memory.

        The few objects that are kept lie scattered among the many of a large file that are not, so that the system
        would get none of that memory back.
        """
        self._file.annotations = None
        if len(self._objects) < FEW:
            return
        packed = pickle.dumps((self._file, self._objects))
        del self._file, self._objects
        self._file, self._objects = pickle.loads(packed)
        # Only glibc has it; other allocators give back what is free by themselves.
        trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
        if trim is not None:
            trim(0)

    def _reduce(self, report: SkipReport, masks: bool, keypoints: bool) -> None:
        objects = self._objects
        for row in range(len(objects)):
            if masks or np.isnan(objects.areas[row]):
                self._encode(objects, row, report)
            if not masks:
                objects.segmentations[row] = None
            if not keypoints:
                objects.keypoints[row] = None
        for wanted, values, what in (
            (masks, objects.segmentations, 'segmentation'),
            (keypoints, objects.keypoints, 'keypoints'),
        ):
            if wanted and len(objects) and not any(values):
                reasons = f' {report.summary()}' if report.summary() else ''
                raise DataError(
                    f'{self.ann_file}: the metric needs {what}, which none of its {len(objects)} annotations has in a '
                    f'usable form.{reasons}'
                )

    def _encode(self, objects: ObjectColumns, row: int, report: SkipReport) -> None:
        """Replace the mask in ``row``, if it has one, by the text of its run lengths; fill in an unknown area by it."""
        image = self._file.images[objects.images[row]]
        given = objects.segmentations[row]
        if image['width'] is None or image['height'] is None:
            if given is not None and not (isinstance(given, list) and not given):
                reason = 'without its mask: the file does not know the size of its image'
                report.correct(reason, self._file.object_name(objects, row))
            objects.segmentations[row] = None
            return
        size = image['height'], image['width']
        mask, problem = read_segmentation(given, *size)
        if problem:
            verdict = 'without its mask' if mask is None else 'with part of its mask'
            name = self._file.object_name(objects, row)
            report.correct(f'{verdict}: {problem}', f'{name} segmentation {shortened(given)}')
        objects.segmentations[row] = None
        if mask is not None:
            encoded = encode_segmentation(mask, *size)
            objects.segmentations[row] = encoded['counts']
            objects.areas[row] = area_of_mask(encoded) if np.isnan(objects.areas[row]) else objects.areas[row]

    @property
    def file(self) -> CocoFile:
        """The images and categories of the file; its annotations are gone."""
        return self._file

    @property
    def image_ids(self) -> list[int | str]:
        """Ids of all images."""
        return [image['id'] for image in self._file.images]

    def has_image(self, img_id: int | str) -> bool:
        """Whether the file lists an image."""
        return same_id(img_id) in self._file.image_places

    def categories(self, classes: Sequence[str]) -> tuple[list[dict], list[int | str | None]]:
        """Categories to evaluate (``id`` and ``name``), and the category id of each label, None if there is none."""
        labels = self._file.labels(classes)
        ids: list[int | str | None] = [None] * len(classes)
        for category_id, label in labels.items():
            ids[label] = category_id
        return [{'id': category_id, 'name': classes[label]} for category_id, label in labels.items()], ids

    def images(self, seen: Mapping[str, tuple[int, int] | None]) -> list[dict]:
        """``id``, ``height`` and ``width`` of the images that were predicted.

        Args:
            seen: Of each, by ``same_id`` of its id, the (h, w) that the prediction knows; None if it doesn't.
        """
        rows = []
        for image in self._file.images:
            key = same_id(image['id'])
            if key in seen:
                height, width = seen[key] or (None, None)
                size = {'height': image['height'] or height, 'width': image['width'] or width}
                rows.append({'id': image['id'], **size})
        return rows

    def annotations(self, categories: Sequence[dict], seen: Mapping[str, tuple[int, int] | None]) -> list[dict]:
        """The objects of ``categories`` in the images that were predicted, in COCO's format.

        What ``CocoDataset`` would skip is left out, so that nobody is asked to find it; a warning counts it once.
        """
        objects = self._objects
        images = self._file.images
        sizes = self._file.known_sizes.copy()
        for index, image in enumerate(images):
            known = seen.get(same_id(image['id']))
            if known and not np.isfinite(sizes[index]).all():
                sizes[index] = known[::-1]
        report = SkipReport(f'CocoMetric, {self.ann_file}')
        rows, clipped = self._file.usable(objects, [category['id'] for category in categories], sizes, report)
        if not self._told:
            report.warn()
            self._told = True
        seen_images = {index for index, image in enumerate(images) if same_id(image['id']) in seen}
        pairs = zip(rows.tolist(), self._scored_boxes(rows, clipped).tolist())
        return [self._annotation(row, box) for row, box in pairs if objects.images[row] in seen_images]

    def _scored_boxes(self, rows: np.ndarray, clipped: np.ndarray) -> np.ndarray:
        """Boxes (n, 4) x, y, width, height: as in the file, but clipped where they reach far out of their image.

        Detectors are trained on clipped boxes. Boxes that reach out by less than a pixel, as in COCO's own files, stay
        as they are, so that scores equal those of COCO's evaluation.
        """
        boxes = self._objects.boxes[rows]
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        far = (np.abs(corners - clipped) > 1).any(1)
        inside = np.concatenate([clipped[:, :2], clipped[:, 2:] - clipped[:, :2]], axis=1)
        return np.where(far[:, None], inside, boxes)

    def _annotation(self, row: int, box: list[float]) -> dict:
        objects = self._objects
        area = float(objects.areas[row])
        image = self._file.images[objects.images[row]]
        annotation = {
            'image_id': image['id'],
            'category_id': self._file.categories[objects.categories[row]]['id'],
            'bbox': box,
            'area': box[2] * box[3] if np.isnan(area) else area,
            'iscrowd': int(objects.ignored[row]),
        }
        if objects.segmentations[row] is not None:
            size = [image['height'], image['width']]
            annotation['segmentation'] = {'size': size, 'counts': objects.segmentations[row]}
        if objects.keypoints[row] is not None:
            annotation['keypoints'] = objects.keypoints[row]
            annotation['num_keypoints'] = sum(visibility > 0 for visibility in objects.keypoints[row][2::3])
        return annotation


def warn_of_missing_annotations(ann_file: str) -> None:
    """Warn that there is nothing to score against."""
    warn(
        f'{ann_file} has no list of annotations, as files of test sets have none: there will be no scores. '
        f'Predictions can be written: outfile_prefix of the metric, or --out and --format-only of tools/test.py.'
    )
