"""Small functions of ``mmdet`` that code of others calls, and that nothing here needs."""

from collections.abc import Callable, Sequence
from functools import partial

from mmengine.dist import all_reduce
from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.structures import DetDataSample


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
