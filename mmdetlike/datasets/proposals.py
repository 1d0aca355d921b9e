"""Precomputed proposals, read from a pickle without running code that a stranger's pickle may hold."""

import io
import os.path as osp
import pickle

import numpy as np
from mmengine import fileio
from mmengine.structures import InstanceData

from mmdetlike.utils.array_pickles import ArrayUnpickler

from ..structures import BoxMode
from .errors import DataError

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

    A file is a dict of image name -> ``bboxes`` and ``scores``; or one of Detectron2, a dict of the lists ``ids``,
    ``boxes`` and ``objectness_logits``, with ``bbox_mode`` (XYXY_ABS by default), whose images are known by their ids.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It isn't a pickle of such a dict, or holds more than arrays.
    """
    try:
        content = unpickle_arrays(fileio.get(path, backend_args=backend_args))
        return _of_detectron2(content) if _is_of_detectron2(content) else {k: _arrays(v) for k, v in content.items()}
    except FileNotFoundError as error:
        raise FileNotFoundError(f'The proposal_file {path!r} does not exist.') from error
    except (DataError, pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(f'{path}: not a proposal file, a dict of image name -> bboxes and scores: {error}') from error


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
    return {'bboxes': boxes.reshape(-1, 4), 'scores': scores}


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
