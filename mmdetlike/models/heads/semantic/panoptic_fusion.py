"""From masks to a panoptic segmentation: one segment for each pixel.

A segment is numbered ``class + INSTANCE_OFFSET * instance``, instances of things counting from 1; stuff has instance 0.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData, PixelData
from torch import Tensor

from mmdetlike.models.utils import to_image_size
from mmdetlike.models.utils.fixed_rows import fixed_rows
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.panoptic import INSTANCE_OFFSET

MASKS_AT_ONCE = 8
ROWS_AT_ONCE = 64

# mask logits (n, h, w) -> the same at the size that is put out
Resize = Callable[[Tensor], Tensor]


class PanopticFusionHead(BaseModule):
    """Base of the fusion heads, which have no parameters.

    Args:
        num_things_classes, num_stuff_classes: Classes of things, and of stuff.
        test_cfg: Settings of the fusion.
        loss_panoptic, init_cfg, train_cfg: Kept for configs; there is nothing to train.
    """

    def __init__(
        self,
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        test_cfg: dict | None = None,
        loss_panoptic: None = None,
        init_cfg: dict | None = None,
        train_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_things_classes, self.num_stuff_classes = num_things_classes, num_stuff_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.test_cfg = ConfigDict(test_cfg or {})

    def segments(self, owner: Tensor, labels: Tensor, stuff: Tensor, least_area: int) -> Tensor:
        """(h, w) segments: things over stuff of at least ``least_area`` pixels, ``num_classes`` where neither is.

        ``owner`` (h, w) has the instance of each pixel, counted from 1, 0 for none; ``labels`` (k,) are the classes of
        instances, ``stuff`` (h, w) those of other pixels.
        """
        areas = stuff[owner == 0].bincount(minlength=self.num_classes + 1)
        large = areas >= least_area
        stuff = torch.where(large[stuff], stuff, self.num_classes)
        of_owner = torch.cat([labels.new_zeros(1), labels])
        return torch.where(owner > 0, of_owner[owner] + owner * INSTANCE_OFFSET, stuff)


@MODELS.register_module()
class HeuristicFusionHead(PanopticFusionHead):
    """Lay masks of things over a semantic segmentation: Panoptic Feature Pyramid Networks, arXiv 1901.02446.

    ``test_cfg`` has ``mask_overlap``, the share of a mask that may be covered by better ones,
    ``stuff_area_limit``, the pixels below which stuff is dropped, and, where weak things are to be left out,
    ``score_thr``, the least score of a thing.
    """

    def predict(self, instances: Sequence[InstanceData], seg_logits: Sequence[Tensor]) -> list[PixelData]:
        """Segments of each image, of ``masks`` (n, h, w) bool, ``labels`` and ``scores`` of its things.

        Its ``seg_logits`` are (num_stuff_classes + 1, h, w), the last class being things.
        """
        return [PixelData(sem_seg=self.fuse(*image)[None]) for image in zip(instances, seg_logits)]

    def fuse(self, instances: InstanceData, seg_logits: Tensor) -> Tensor:
        """(h, w) segments of an image."""
        owner, labels = self.lay_masks(instances)
        stuff = seg_logits.argmax(0) + self.num_things_classes
        return self.segments(owner, labels, stuff, self.test_cfg.stuff_area_limit)

    def lay_masks(self, instances: InstanceData) -> tuple[Tensor, Tensor]:
        """Lay masks upon each other, the best one on top: (h, w) the instance of each pixel, and (k,) their classes."""
        owner = torch.zeros(instances.masks.shape[-2:], dtype=torch.long, device=instances.masks.device)
        laid = []
        areas = instances.masks.flatten(1).sum(1).tolist()
        best_first = instances.scores.argsort(descending=True)
        if 'score_thr' in self.test_cfg:
            best_first = best_first[instances.scores[best_first] >= self.test_cfg.score_thr]
        for i in best_first.tolist():
            free = instances.masks[i] & (owner == 0)
            if areas[i] == 0 or (areas[i] - int(free.sum())) / areas[i] > self.test_cfg.mask_overlap:
                continue
            laid.append(i)
            owner[free] = len(laid)
        return owner, instances.labels[laid]


@MODELS.register_module()
class MaskFormerFusionHead(PanopticFusionHead):
    """Make panoptic, semantic and instance results of the classes and masks of queries: MaskFormer, arXiv 2107.06278.

    ``test_cfg`` says what is wanted: ``panoptic_on`` (``object_mask_thr``, ``iou_thr``, ``filter_low_score``),
    ``semantic_on``, ``instance_on`` (``max_per_image``).
    """

    def predict(
        self, mask_cls: Tensor, mask_pred: Tensor, samples: SampleList, rescale: bool = False
    ) -> list[dict[str, PixelData | InstanceData]]:
        """The results of each image that ``test_cfg`` asks for, by the name of the sample's field.

        Queries have class logits (B, Q, classes + 1) and mask logits (B, Q, h, w) of the whole batch, at any size;
        samples ``batch_input_shape``, ``img_shape`` and, to ``rescale`` to the original images, ``ori_shape``.
        """
        return [self.predict_image(*image, rescale) for image in zip(mask_cls, mask_pred, samples)]

    def predict_image(
        self, logits: Tensor, masks: Tensor, sample: DetDataSample, rescale: bool
    ) -> dict[str, PixelData | InstanceData]:
        cfg = self.test_cfg
        result = {}
        # resized where they are needed, so that only masks that are wanted are brought to full size
        resize = functools.partial(to_image_size, sample=sample, rescale=rescale)
        if cfg.get('panoptic_on', True):
            result['pred_panoptic_seg'] = PixelData(sem_seg=self.panoptic(logits, masks, resize)[None])
        if cfg.get('instance_on', False):
            result['pred_instances'] = self.instances(logits, masks, resize)
        if cfg.get('semantic_on', False):
            result['pred_sem_seg'] = PixelData(sem_seg=self.semantic(logits, masks, resize)[None])
        return result

    def semantic(self, logits: Tensor, masks: Tensor, resize: Resize) -> Tensor:
        """(h, w) the class of each pixel."""
        weights = logits.softmax(-1)[:, :-1]
        # some rows at a time: there may be many classes
        strips = resize(masks).split(ROWS_AT_ONCE, dim=1)
        return torch.cat([torch.einsum('qc,qhw->chw', weights, strip.sigmoid()).argmax(0) for strip in strips])

    def panoptic(self, logits: Tensor, masks: Tensor, resize: Resize) -> Tensor:
        """(h, w) the segment of each pixel, ``num_classes`` where there is none."""
        cfg = self.test_cfg
        scores, labels = logits.softmax(-1).max(-1)
        keep = (labels != self.num_classes) & (scores > cfg.get('object_mask_thr', 0.8))
        scores = scores[keep]
        labels = labels[keep]
        masks = resize(masks[keep]).sigmoid()
        if not len(masks):
            return torch.full(masks.shape[-2:], self.num_classes, dtype=torch.int32, device=masks.device)
        owner = (scores[:, None, None] * masks).argmax(0)
        # a mask that loses more than a share of its pixels to other queries is dropped; its pixels stay empty
        full = masks >= 0.5
        owned = owner.flatten().bincount(minlength=len(masks))
        areas = full.flatten(1).sum(1)
        shown = (owned > 0) & (areas > 0) & (owned / areas >= cfg.get('iou_thr', 0.8))
        is_thing = labels < self.num_things_classes
        instance = (shown & is_thing).cumsum(0) * is_thing
        segments = torch.where(shown, labels + instance * INSTANCE_OFFSET, self.num_classes)[owner]
        if cfg.get('filter_low_score', False):
            segments = torch.where(full.gather(0, owner[None])[0], segments, self.num_classes)
        return segments.int()

    def instances(self, logits: Tensor, masks: Tensor, resize: Resize) -> InstanceData:
        """The best things: ``masks`` (n, h, w) bool, ``bboxes`` around them, ``scores``, ``labels``."""
        things = self.best_things(logits)
        # a query may be there with several classes
        queries, which = things['queries'].unique(return_inverse=True)
        # some masks at a time, which are still in the cache when they are read again
        parts = [binary_masks(resize(part)) for part in masks[queries].split(MASKS_AT_ONCE)]
        binary, boxes, inside = (torch.cat(column) for column in zip(*parts))
        scores = things['scores'] * inside[which]
        return InstanceData(bboxes=boxes[which], labels=things['labels'], scores=scores, masks=binary[which])

    def best_things(self, logits: Tensor) -> dict[str, Tensor]:
        """``scores``, ``labels`` and ``queries`` (n,), in no order, of the things among the ``max_per_image`` best."""
        scores = logits.softmax(-1)[:, :-1]
        scores, best = scores.flatten().topk(min(self.limit, scores.numel()), sorted=False)
        labels = best % self.num_classes
        queries = torch.div(best, self.num_classes, rounding_mode='floor')
        things = dict(scores=scores, labels=labels, queries=queries)
        if not self.num_stuff_classes:  # a graph then knows how many there are
            return things
        is_thing = labels < self.num_things_classes
        return {name: column[is_thing] for name, column in things.items()}

    @property
    def limit(self) -> int:
        """How many instances of an image there can be."""
        return self.test_cfg.get('max_per_image', 100)

    def detect(self, logits: Tensor, masks: Tensor, resize: Resize) -> dict[str, Tensor]:
        """What ``instances`` finds, of tensors alone: ``boxes``, ``scores`` (falling), ``labels``, ``masks``."""
        things = self.best_things(logits)
        count = things['scores'].shape[0]
        rows = fixed_rows(things, self.limit, 'test_cfg.max_per_image')
        binary, boxes, inside = binary_masks(resize(masks[rows['queries']]))
        scores = rows['scores'] * inside
        # rows that only fill up a graph score 0: a stable sort leaves them behind objects that do
        order = scores.argsort(descending=True, stable=True)
        found = dict(boxes=boxes, scores=scores, labels=rows['labels'], masks=binary)
        return {name: column[order][:count] for name, column in found.items()}


def binary_masks(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Masks (n, h, w) bool of logits (n, h, w), boxes (n, 4) and the mean probability (n,) of the pixels inside."""
    binary = logits > 0
    total = logits.sigmoid().masked_fill_(~binary, 0).flatten(1).sum(1)
    area = binary.flatten(1).sum(1, dtype=total.dtype)
    # an empty mask has a mean of 0
    return binary, boxes_of_masks(binary), total / (area + 1e-6)


def boxes_of_masks(masks: Tensor) -> Tensor:
    """Boxes (n, 4) xyxy in pixels around masks (n, h, w) bool; zeros around empty ones."""
    sides = []
    for dim in (1, 2):
        hit = masks.any(dim)
        first = hit.int().argmax(1)
        last = hit.shape[1] - hit.flip(1).int().argmax(1)
        # the index of the first True is that of the first maximum; 0 too where there is none
        sides.append((first, torch.where(hit.any(1), last, 0)))
    (x1, x2), (y1, y2) = sides
    return torch.stack([x1, y1, x2, y2], dim=1).float()
