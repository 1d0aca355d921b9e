"""Rows of predictions and ground truth in COCO's format: checked, renumbered, and reduced to what a metric needs."""

import math

import numpy as np
from faster_coco_eval.core import mask as rle

from ...datasets.errors import DataError, warn
from ...datasets.records import same_id

# the part of a result file's name that says what is in it, by metric
FILE_KINDS = {
    'bbox': 'bbox',
    'segm': 'segm',
    'keypoints': 'keypoints',
    'proposal': 'proposal',
    'proposal_fast': 'proposal',
}
# the field of a row that a metric is computed from
FIELDS = {
    'bbox': 'bbox',
    'segm': 'segmentation',
    'keypoints': 'keypoints',
    'proposal': 'bbox',
    'proposal_fast': 'bbox',
}


class _Numbers(dict):
    """The number of each id, whether written as 1 or "1"; None for others."""

    def __init__(self, rows: list[dict], start: int) -> None:
        super().__init__()
        self._by_text = {same_id(row['id']): number for number, row in enumerate(rows, start)}

    def __missing__(self, key: int | str | None) -> int | None:
        self[key] = self._by_text.get(same_id(key))
        return self[key]


def numbered(images: list[dict], categories: list[dict], *tables: list[dict]) -> tuple[list[dict], ...]:
    """Images, categories and rows with numbers instead of their ids, which in some files are text.

    The compiled evaluator takes numbers only. A row whose category isn't among ``categories`` has None for it.
    """
    # strings are compared once for each id, not once for each row
    image_numbers = _Numbers(images, start=0)
    category_numbers = _Numbers(categories, start=1)
    images = [{**image, 'id': number} for number, image in enumerate(images)]
    categories = [{**category, 'id': number} for number, category in enumerate(categories, 1)]
    renumbered = []
    for rows in tables:
        # there may be millions: `row | numbers` would make two dicts of each
        copies = [row.copy() for row in rows]
        for row in copies:
            row['image_id'] = image_numbers[row['image_id']]
            row['category_id'] = category_numbers[row['category_id']]
        renumbered.append(copies)
    return images, categories, *renumbered


def check_paths(predictions: list[dict]) -> None:
    """Refuse two images of one id, as concatenated datasets may have: predictions are matched to images by id.

    Raises:
        DataError: The message names id and images.
    """
    paths: dict[str, str] = {}
    for prediction in predictions:
        path = prediction['img_path']
        other = path and paths.setdefault(same_id(prediction['img_id']), path)
        if other and other != path:
            raise DataError(
                f'Two images have the id {prediction["img_id"]!r}: {other} and {path}. CocoMetric tells images by '
                f'their ids: evaluate such sets one by one, or give their images different ids.'
            )


def check_mask_sizes(found: list[dict], images: list[dict]) -> None:
    """Refuse predicted masks of another size than their image, which would overlap with nothing, in silence."""
    sizes = {image['id']: [image['height'], image['width']] for image in images}
    for row in found:
        size = row['segmentation']['size'] if 'segmentation' in row else None
        expected = sizes[row['image_id']]
        if size and None not in expected and size != expected:
            raise DataError(f'Predicted masks are of (h, w) = {size}, but their image of {expected}.')


def boxes_by_image(rows: list[dict], image_ids: list) -> list[np.ndarray]:
    """For each image the (n, 4) xyxy boxes of its rows, best first where they have scores."""
    groups: dict = {image_id: [] for image_id in image_ids}
    for row in sorted(rows, key=lambda row: -row.get('score', 0)):
        x, y, width, height = row['bbox']
        groups[row['image_id']].append((x, y, x + width, y + height))
    return [np.array(group, dtype=np.float64).reshape(-1, 4) for group in groups.values()]


def rows_for(metric: str, found: list[dict], truth: list[dict] | None) -> tuple[list[dict], list[dict] | None]:
    """Reduce detections and ground truth to the fields that ``metric`` is computed from; boxes get their area.

    Raises:
        DataError: They lack masks or keypoints.
    """
    field = FIELDS[metric]
    for what, rows in (('predictions', found), ('annotations', truth or [])):
        if rows and not any(field in row for row in rows):
            raise DataError(f'metric {metric!r} needs {field}, which the {what} do not have in a usable form.')
    if not metric.startswith('proposal'):
        found = [row for row in found if row['category_id'] is not None]
    if metric == 'segm':
        return [_mask_row(row) for row in found], [row for row in truth or [] if 'segmentation' in row]
    # The compiled evaluator has no use for other masks, and should not get to see any.
    truth = [{key: value for key, value in row.items() if key != 'segmentation'} for row in truth or []]
    if metric == 'keypoints':
        return [_keypoint_row(row) for row in found], [row for row in truth or [] if 'keypoints' in row]
    for row in found:  # in place, for the same reason as in `numbered`
        width, height = row['bbox'][2:]
        row['area'] = width * height
        row['iscrowd'] = 0
    return found, truth


def finite_rows(found: list[dict], field: str) -> list[dict]:
    """Leave out detections whose score or ``field`` is infinite or NaN, and warn of them.

    They overlap with nothing, and JSON can't hold them.
    """
    if field == 'segmentation':
        kept = [row for row in found if math.isfinite(row.get('mask_score', 0))]
    else:
        # one sum is infinite or NaN if any number is
        kept = [row for row in found if math.isfinite(sum(row.get(field, ()), row['score']))]
    if len(kept) < len(found):
        warn(
            f'CocoMetric: {len(found) - len(kept)} of {len(found)} predictions have infinite numbers or NaN as score '
            f'or {field} and are left out.'
        )
    return kept


def _mask_row(row: dict) -> dict:
    shared = {key: row[key] for key in ('image_id', 'category_id', 'segmentation')}
    area = float(rle.area(row['segmentation']))
    box = list(map(float, rle.toBbox(row['segmentation'])))
    return shared | {'score': row['mask_score'], 'area': area, 'bbox': box, 'iscrowd': 0}


def _keypoint_row(row: dict) -> dict:
    points = np.asarray(row['keypoints']).reshape(-1, 3)[:, :2]
    x1, y1 = points.min(0).tolist()
    x2, y2 = points.max(0).tolist()
    shared = {key: row[key] for key in ('image_id', 'category_id', 'keypoints', 'score')}
    return shared | {'bbox': [x1, y1, x2 - x1, y2 - y1], 'area': (x2 - x1) * (y2 - y1), 'iscrowd': 0}
