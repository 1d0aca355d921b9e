"""Recall of proposals."""

from collections.abc import Sequence

import numpy as np

from .overlaps import box_iou


def eval_recalls(
    gts: Sequence[np.ndarray],
    proposals: Sequence[np.ndarray],
    proposal_nums: Sequence[int],
    iou_thrs: Sequence[float],
) -> np.ndarray:
    """Recall of proposals: the share of objects that they cover, matched one to one, the best overlaps first.

    Args:
        gts: For each image (n, 4) xyxy boxes.
        proposals: For each image (m, 4) xyxy boxes, best first.
        proposal_nums: Numbers of proposals in an image to consider.
        iou_thrs: Overlaps from which on an object counts as covered.

    Returns:
        (len(proposal_nums), len(iou_thrs)); zero where there are no objects.
    """
    if len(gts) != len(proposals):
        raise ValueError(f'Got ground truth of {len(gts)} images and proposals of {len(proposals)}.')
    total = max(sum(len(boxes) for boxes in gts), 1)
    recalls = np.zeros((len(proposal_nums), len(iou_thrs)))
    for row, number in enumerate(proposal_nums):
        best = [_best_overlaps(box_iou(truth, found[:number])) for truth, found in zip(gts, proposals)]
        covered = np.concatenate([np.zeros(0), *best])
        recalls[row] = (covered[:, None] >= np.asarray(iou_thrs)).sum(0) / total
    return recalls


def _best_overlaps(iou: np.ndarray) -> np.ndarray:
    """Overlaps of a greedy one-to-one matching of the rows of ``iou``."""
    iou = iou.copy()
    best = np.zeros(len(iou))
    for step in range(min(iou.shape)):
        row, column = np.unravel_index(iou.argmax(), iou.shape)
        best[step] = max(iou[row, column], 0)
        # taken: -1 is below every overlap, 0 included
        iou[row] = -1
        iou[:, column] = -1
    return best
