"""Average precision of rotated boxes."""

from collections.abc import Sequence

import numpy as np
import torch

from ...registry import METRICS
from ...structures.bbox import geometry
from .voc_metric import VOCMetric


@METRICS.register_module()
class DOTAMetric(VOCMetric):
    """Mean average precision of rotated boxes at fixed overlaps (DOTA, arXiv 1711.10398): that of VOC, by rotated IoU.

    Gives ``dota/AP50`` for each threshold and ``dota/mAP``, the mean over the thresholds. The ground truth is what the
    samples carry as ``instances``, whose boxes have 4, 5 or 8 numbers; quadrilaterals are scored as the smallest
    rectangles around them. Difficult objects (``ignore_flag``) are neither right nor wrong to find.

    Args:
        iou_thrs: Overlap, or several, from which on a box counts as found.
        scale_ranges: Score also by object size: pairs of the square roots of areas, in pixels.
        metric: 'mAP' or 'recall'.
        proposal_nums: Numbers of boxes in an image that metric 'recall' considers.
        eval_mode: '11points' (VOC 2007, as DOTA's own evaluation) or 'area' (exact area under the curve).
        collect_device: 'cpu' or 'gpu': where the results of several processes are put together.
        prefix: First part of the result names, 'dota' if None.
    """

    default_prefix = 'dota'
    box_dim = geometry.ROTATED

    def truth_boxes(self, boxes: Sequence[Sequence[float]]) -> np.ndarray:
        """Annotated boxes (n, 5), each from 4, 5 or 8 numbers."""
        rotated = [geometry.to_rotated(torch.tensor(box, dtype=torch.float64)) for box in boxes]
        return torch.stack(rotated).numpy() if rotated else np.zeros((0, self.box_dim))
