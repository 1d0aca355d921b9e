"""The ground truth of CrowdHuman's files, as arrays."""

import numpy as np

from ...datasets.crowdhuman import PARTS, read_odgt
from ...datasets.records import same_id

_PERSON = 'person'


def read_truth(path: str, part: str, backend_args: dict | None = None) -> dict[str, dict[str, np.ndarray]]:
    """``bboxes`` (m, 4) xyxy and ``ignore`` (m,) of each image, by ``same_id`` of its name.

    Args:
        path: A file in CrowdHuman's format (``.odgt``).
        part: 'body' or 'head'.
        backend_args: Where it is read from, as for ``mmengine.fileio.get``.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A line isn't what it should be; the message names it.
    """
    return {same_id(image['ID']): _arrays(image, part) for image in read_odgt(path, backend_args, part)}


def _arrays(image: dict, part: str) -> dict[str, np.ndarray]:
    key, attributes = PARTS[part]
    rows = [row for row in image['gtboxes'] if row[key] is not None]
    boxes = np.array([row[key] for row in rows], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    # what looks like a person but isn't one, as a poster, has another tag
    ignore = [row[attributes] or row['tag'] != _PERSON for row in rows]
    return {'bboxes': boxes, 'ignore': np.array(ignore, dtype=bool)}
