"""Precomputed proposals, read from JSON, or from a pickle without running code that a stranger's pickle may hold."""

import io
import os.path as osp
import pickle

import numpy as np
from mmengine import fileio
from mmengine.structures import InstanceData

from mmdetlike.utils.array_pickles import ArrayUnpickler

from ..structures import BoxMode
from .annotations import read_json
from .errors import DataError
from .records import Field, Table, finite_box, identifier, score

RESULTS = Table(
    'a result',
    (
        Field('image_id', identifier, 'the id of an image', required=True),
        Field('bbox', finite_box, 'four numbers [x, y, width, height]', required=True),
        Field('score', score, 'a number', required=True),
    ),
    lambda row: f'a result of image {row.get("image_id")!r}',
)

# how Detectron2 marks what the numbers of boxes mean
DETECTRON2_MODE = ('detectron2.structures.boxes', 'BoxMode')
INSTANCES = ('mmengine.structures.instance_data', 'InstanceData')
# names of what older ones of its files hold
DETECTRON2_OLD_NAMES = {'indexes': 'ids', 'scores': 'objectness_logits'}


def unpickle_arrays(content: bytes) -> object:
    """The content of a pickle that holds arrays, tensors, numbers and text, without running what it says.

    They may lie in lists, tuples and dicts. Tensors come to the CPU.

    Raises:
        DataError: It holds something else.
    """
    try:
        return ArrayUnpickler(io.BytesIO(content), {DETECTRON2_MODE: BoxMode, INSTANCES: InstanceData}).load()
    except pickle.UnpicklingError as error:
        raise DataError(str(error)) from error


def proposal_key(img_path: str) -> str:
    """The name of an image in a proposal file: its folder and its file name."""
    folder, name = osp.split(img_path)
    return f'{osp.basename(folder)}/{name}'


def read_proposals(path: str, backend_args: dict | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Proposals by image: ``bboxes`` (n, 4) xyxy and ``scores`` (n,), float32.

    A file is a dict of image name -> ``bboxes`` and ``scores``, as pickle or JSON (``.json``); JSON in the form of
    COCO's results, a list of ``dict(image_id=..., bbox=[x, y, width, height], score=...)``; or a pickle of Detectron2,
    a dict of the lists ``ids``, ``boxes`` and ``objectness_logits``, with ``bbox_mode`` (XYXY_ABS by default). Images
    of the last two are known by their ids.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It holds something else.
    """
    try:
        content = _content(path, backend_args)
        if isinstance(content, list):
            return _of_results(content, path)
        return _of_detectron2(content) if _is_of_detectron2(content) else _of_names(content)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'The proposal_file {path!r} does not exist.') from error
    except (DataError, pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f'{path}: not a proposal file, a dict of image name -> bboxes and scores: {error}') from error


def _content(path: str, backend_args: dict | None) -> object:
    if path.endswith('.json'):
        return read_json(path, backend_args)
    return unpickle_arrays(fileio.get(path, backend_args=backend_args))


def _of_results(rows: list, path: str) -> dict[str, dict[str, np.ndarray]]:
    by_image: dict[str, list[tuple]] = {}
    for row in rows:
        result = RESULTS.read(row, path)
        if result['bbox'] is not None:
            x, y, width, height = result['bbox']
            by_image.setdefault(str(result['image_id']), []).append((x, y, x + width, y + height, result['score']))
    proposals = {}
    for image, found in by_image.items():
        with np.errstate(over='ignore'):
            array = np.array(found, dtype=np.float32)
        if not np.isfinite(array).all():
            raise DataError(f'image {image!r}: a box or a score is beyond what 32 bits hold')
        best_first = np.argsort(-array[:, 4], kind='stable')
        proposals[image] = {'bboxes': array[best_first, :4], 'scores': array[best_first, 4]}
    return proposals


def _of_names(content: dict) -> dict[str, dict[str, np.ndarray]]:
    proposals = {}
    for name, value in content.items():
        try:
            proposals[str(name)] = _arrays(value)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(f'image {name!r}: {error}') from error
    return proposals


def _is_of_detectron2(content: object) -> bool:
    return isinstance(content, dict) and 'boxes' in content and bool({'ids', 'indexes'} & content.keys())


def _of_detectron2(content: dict) -> dict[str, dict[str, np.ndarray]]:
    columns = {DETECTRON2_OLD_NAMES.get(name, name): values for name, values in content.items()}
    mode = BoxMode(columns.get('bbox_mode', BoxMode.XYXY_ABS))
    lengths = {name: len(columns[name]) for name in ('ids', 'boxes', 'objectness_logits')}
    if len(set(lengths.values())) > 1:
        raise DataError(f'its lists differ in length: {lengths}')
    proposals = {}
    for image, boxes, logits in zip(columns['ids'], columns['boxes'], columns['objectness_logits']):
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        logits = np.asarray(logits, dtype=np.float32).reshape(-1)
        if len(boxes) != len(logits):
            raise DataError(f'image {image} has {len(boxes)} boxes and {len(logits)} objectness_logits')
        best_first = np.argsort(-logits, kind='stable')
        boxes = BoxMode.convert(boxes, mode, BoxMode.XYXY_ABS)
        proposals[str(image)] = {'bboxes': boxes[best_first], 'scores': logits[best_first]}
    return proposals


def _arrays(value) -> dict[str, np.ndarray]:
    # a dict as ours writes, or InstanceData as OpenMMLab's toolbox does
    get = value.__getitem__ if isinstance(value, dict) else value.__getattribute__
    boxes, scores = (np.asarray(get(key), dtype=np.float32) for key in ('bboxes', 'scores'))
    if boxes.size and (boxes.ndim != 2 or boxes.shape[1] != 4):
        raise ValueError(f'bboxes are of shape {boxes.shape}, expected (n, 4)')
    boxes = boxes.reshape(-1, 4)
    if scores.shape != (len(boxes),):
        raise ValueError(f'{len(boxes)} bboxes have scores of shape {scores.shape}, expected ({len(boxes)},)')
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        raise ValueError('bboxes or scores are not finite')
    return {'bboxes': boxes, 'scores': scores}


def path_below(data_root: str | None, path: str) -> str:
    """Where a proposal file is: below ``data_root`` as the other files of a dataset, or at ``path`` as it is."""
    joined = osp.join(data_root, path) if data_root and not osp.isabs(path) and '://' not in path else path
    return path if osp.isfile(path) and not osp.isfile(joined) else joined


def attach_proposals(data_list: list[dict], path: str, backend_args: dict | None = None) -> None:
    """Add ``proposals`` to each data info, looked up by folder and file name, by the file name alone or by the id.

    Raises:
        DataError: Images are missing from the file; the message says how many and which.
    """
    proposals = read_proposals(path, backend_args)
    missing = []
    for info in data_list:
        key = proposal_key(info['img_path'])
        names = (key, osp.basename(key), str(info.get('img_id')))
        found = next((proposals[name] for name in names if name in proposals), None)
        if found is None:
            missing.append(key)
        info['proposals'] = found
    if missing:
        raise DataError(f'{path}: no proposals for {len(missing)} of {len(data_list)} images, e.g. {missing[:3]}.')
