"""Recognizing the objects of the last frame of a video, so that they keep their colors."""

import numpy as np
import torch

from mmdetlike.structures.bbox import geometry

from .instances import Instances, to_instances

# of two objects in successive frames, from which on they are one; that of Detectron2's drawing
SAME_OBJECT_IOU = 0.6


class InstanceFollower:
    """Number the objects of successive frames, the same object with the same number.

    An object is the one of the same class in the last frame whose box overlaps most with its own; pairs are chosen so
    that their overlaps are largest together. This is for colors; it doesn't find objects again that were lost.

    Args:
        iou_thr: Overlap of boxes from which on two are one object.
    """

    def __init__(self, iou_thr: float = SAME_OBJECT_IOU) -> None:
        self.iou_thr = iou_thr
        self._last: Instances | None = None
        self._numbers = np.zeros(0, dtype=np.int64)
        self._next = 0

    def __call__(self, instances) -> np.ndarray:
        """The numbers (n,) of the objects of the next frame.

        Args:
            instances: What `to_instances` takes.
        """
        now = to_instances(instances)
        numbers = np.full(len(now), -1, dtype=np.int64)
        if self._last is not None and len(now) and len(self._last):
            from scipy.optimize import linear_sum_assignment  # here, as it is slow to import and most draw no videos

            ious = np.where(now.labels[:, None] == self._last.labels, _overlaps(now, self._last), 0)
            ours, theirs = linear_sum_assignment(ious, maximize=True)
            same = ious[ours, theirs] >= self.iou_thr
            numbers[ours[same]] = self._numbers[theirs[same]]
        new = numbers < 0
        numbers[new] = self._next + np.arange(new.sum())
        self._next += int(new.sum())
        self._last = now
        self._numbers = numbers
        return numbers


def _overlaps(one: Instances, other: Instances) -> np.ndarray:
    boxes = [torch.from_numpy(instances.boxes).float() for instances in (one, other)]
    return geometry.overlaps(*boxes).numpy()
