"""Small functions of ``mmdet`` that code of others calls, and that nothing here needs."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS
from mmdetlike.structures import BaseInstanceMasks, DetDataSample
from mmdetlike_ops import batched_nms


def multi_apply(func: Callable, *args, **kwargs) -> tuple[list, ...]:
    """Call ``func`` with the first of each argument, the second of each and so on; one list for each thing it returns.

    Args:
        func: Returns a tuple.
        args: Sequences of the same length.
        kwargs: The same for all calls.
    """
    results = map(partial(func, **kwargs) if kwargs else func, *args)
    return tuple(map(list, zip(*results)))


def reduce_mean(tensor: Tensor) -> Tensor:
    """The mean of a tensor over all processes; itself where there is one."""
    mean = tensor.clone()
    all_reduce(mean, op='mean')
    return mean


def unmap(data: Tensor, count: int, inds: Tensor, fill: float = 0) -> Tensor:
    """Put the rows of ``data`` (n, ...) at the ``inds`` (count,), a mask, of a tensor (count, ...) full of ``fill``."""
    whole = data.new_full((count, *data.shape[1:]), fill)
    whole[inds.bool()] = data
    return whole


def select_single_mlvl(mlvl_tensors: Sequence[Tensor], batch_id: int, detach: bool = True) -> list[Tensor]:
    """The entries of one image from the maps (B, ...) of each level."""
    chosen = [level[batch_id] for level in mlvl_tensors]
    return [level.detach() for level in chosen] if detach else chosen


def filter_scores_and_topk(
    scores: Tensor, score_thr: float, topk: int, results: dict | list | Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, dict | list | Tensor | None]:
    """The best pairs of candidate and class above a score.

    Args:
        scores: Scores (n, classes).
        score_thr: Pairs must score more.
        topk: How many pairs are kept at most.
        results: What else is known of the candidates: tensors (n, ...), alone, in a list or in a dict.

    Returns:
        Scores, classes and candidates of the pairs, best first, and ``results`` of these candidates.
    """
    candidates, labels = (scores > score_thr).nonzero(as_tuple=True)
    best, order = scores[candidates, labels].sort(descending=True)
    candidates, labels = candidates[order[:topk]], labels[order[:topk]]
    if isinstance(results, dict):
        results = {name: value[candidates] for name, value in results.items()}
    elif isinstance(results, list):
        results = [value[candidates] for value in results]
    elif isinstance(results, Tensor):
        results = results[candidates]
    return best[:topk], labels, candidates, results


def unpack_gt_instances(
    batch_data_samples: Sequence[DetDataSample],
) -> tuple[list[InstanceData], list[InstanceData | None], list[dict]]:
    """Objects to learn, objects to ignore (None where a sample has none) and what is known of each image."""
    truths = [sample.gt_instances for sample in batch_data_samples]
    ignored = [sample.get('ignored_instances') for sample in batch_data_samples]
    return truths, ignored, [sample.metainfo for sample in batch_data_samples]


def levels_to_images(mlvl_tensor: Sequence[Tensor]) -> list[Tensor]:
    """Maps (B, C, H_i, W_i) of each level -> for each image its pixels (sum of H_i W_i, C), level by level."""
    rows = [level.flatten(2).transpose(1, 2) for level in mlvl_tensor]
    return list(torch.cat(rows, dim=1))


def multiclass_nms(
    multi_bboxes: Tensor,
    multi_scores: Tensor,
    score_thr: float,
    nms_cfg: dict,
    max_num: int = -1,
    score_factors: Tensor | None = None,
    return_inds: bool = False,
) -> tuple[Tensor, ...]:
    """Suppression of boxes, class by class.

    Args:
        multi_bboxes: (n, 4), or (n, 4 num_classes) with a box for each class.
        multi_scores: (n, num_classes + 1), the last of the background.
        score_thr: Boxes must score more, before the factors.
        nms_cfg: As of ``batched_nms``.
        max_num: How many boxes are kept at most; -1 for all.
        score_factors: (n,) that scores are multiplied by.
        return_inds: Give the indices, too.

    Returns:
        Boxes with scores (k, 5), classes (k,), and the indices (k,) in ``multi_scores[:, :-1]`` flattened.
    """
    scores = multi_scores[:, :-1]
    num_classes = scores.shape[1]
    boxes = multi_bboxes.view(len(scores), -1, 4).expand(-1, num_classes, 4)
    is_candidate = scores > score_thr
    if score_factors is not None:
        scores = scores * score_factors[:, None]
    rows, labels = is_candidate.nonzero(as_tuple=True)
    dets, keep = batched_nms(boxes[rows, labels], scores[rows, labels], labels, nms_cfg)
    keep = keep[:max_num] if max_num > 0 else keep
    dets = dets[: len(keep)]
    indices = rows[keep] * num_classes + labels[keep]
    return (dets, labels[keep], indices) if return_inds else (dets, labels[keep])


def mask_target(
    pos_proposals_list: Sequence[Tensor],
    pos_assigned_gt_inds_list: Sequence[Tensor],
    gt_masks_list: Sequence[BaseInstanceMasks],
    cfg: dict,
) -> Tensor:
    """What a mask head learns: the masks of the objects, cut out by the proposals.

    Args:
        pos_proposals_list: Of each image, proposals (n_i, 4).
        pos_assigned_gt_inds_list: The objects (n_i,) that they belong to.
        gt_masks_list: The masks of each image.
        cfg: ``mask_size`` of the result, a number or (h, w).

    Returns:
        (sum of n_i, h, w) float32.
    """
    size = cfg['mask_size']
    size = (size, size) if isinstance(size, int) else tuple(size)
    targets = []
    for boxes, indices, masks in zip(pos_proposals_list, pos_assigned_gt_inds_list, gt_masks_list):
        cut = masks.crop_and_resize(boxes.detach().cpu().numpy(), size, indices.cpu().numpy()).to_ndarray()
        targets.append(torch.from_numpy(cut.astype(np.float32)).to(boxes.device))
    return torch.cat(targets)


def empty_instances(
    batch_img_metas: Sequence[dict], device: torch.device, task_type: str, instance_results: Sequence | None = None
) -> list[InstanceData]:
    """Results of images in which nothing was found.

    Args:
        batch_img_metas: What is known of each image; ``ori_shape`` is the size of masks.
        device: Of the results.
        task_type: ``'bbox'`` for ``bboxes`` (0, 4), ``scores`` (0,) and ``labels`` (0,), or ``'mask'`` for ``masks``
            (0, h, w) bool.
        instance_results: Results to add to; new ones where None.

    Raises:
        ConfigError: ``task_type`` is something else.
    """
    if task_type not in ('bbox', 'mask'):
        raise ConfigError(f"empty_instances: task_type must be 'bbox' or 'mask', got {task_type!r}")
    results = [InstanceData() for _ in batch_img_metas] if instance_results is None else list(instance_results)
    for meta, result in zip(batch_img_metas, results):
        if task_type == 'mask':
            result.masks = torch.zeros(0, *meta['ori_shape'][:2], dtype=torch.bool, device=device)
            continue
        result.bboxes = torch.zeros(0, 4, device=device)
        result.scores = torch.zeros(0, device=device)
        result.labels = torch.zeros(0, dtype=torch.long, device=device)
    return results


def to_tensor(data: Tensor | np.ndarray | Sequence | float) -> Tensor:
    """A tensor of an array, of numbers in a sequence, or of one number; a tensor as it is."""
    return torch.from_numpy(data) if isinstance(data, np.ndarray) else torch.as_tensor(data)


def mask2ndarray(mask: BaseInstanceMasks | Tensor | np.ndarray) -> np.ndarray:
    """Masks of any kind as an array (n, h, w)."""
    if isinstance(mask, BaseInstanceMasks):
        return mask.to_ndarray()
    return mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)


def get_classes(dataset: str) -> list[str]:
    """Class names by the name of a dataset: ``coco``, ``voc``, ``cityscapes``, ``openimages``, ``objects365v2``, ...

    Raises:
        ConfigError: The name is unknown, or the classes of that dataset are those of its annotation file.
    """
    wanted = f'{dataset}dataset'.replace('_', '').lower()
    known = {name.lower(): cls for name, cls in DATASETS.module_dict.items()}
    classes = getattr(known.get(wanted), 'METAINFO', {}).get('classes')
    if classes is None:
        raise ConfigError(f'get_classes knows no classes of {dataset!r}: expected the name of a dataset, such as coco')
    return list(classes)


def coco_classes() -> list[str]:
    """The classes of COCO."""
    return get_classes('coco')


def voc_classes() -> list[str]:
    """The classes of PASCAL VOC."""
    return get_classes('voc')


def get_root_logger(log_file: str | None = None, log_level: int | str = 'INFO') -> MMLogger:
    """The logger of this run."""
    return MMLogger.get_current_instance()


def setup_cache_size_limit_of_dynamo() -> None:
    """Nothing is to be set: programs of several sizes are torch's own matter today."""
