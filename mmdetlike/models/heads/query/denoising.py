"""Denoising queries: noisy copies of annotated objects, which need no matching. DINO, arXiv 2203.03605."""

from dataclasses import dataclass

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers.transformer import inverse_sigmoid
from mmdetlike.structures import DetDataSample, SampleList
from mmdetlike.structures.bbox import bbox_xyxy_to_cxcywh, geometry, get_box_tensor


@dataclass
class DenoisingQueries:
    """Noisy copies of objects in G groups, each with a positive and a negative part of up to M objects.

    Attributes:
        content: (B, 2 * G * M, C) embeddings of their noisy labels.
        boxes: (B, 2 * G * M, 4) noisy cx, cy, w, h before the sigmoid.
        attn_mask: (Q, Q) True where a query must not look at another; Q counts all queries, these first.
        num_groups: G.
        max_objects: M, the objects of the fullest image of the batch.
    """

    content: Tensor
    boxes: Tensor
    attn_mask: Tensor
    num_groups: int
    max_objects: int

    @property
    def count(self) -> int:
        """Number of denoising queries of an image."""
        return 2 * self.num_groups * self.max_objects

    def positives(self, num_objects: int) -> tuple[Tensor, Tensor]:
        """Indices of an image's positive queries and the object of each, both (G * num_objects,)."""
        objects = torch.arange(num_objects, device=self.boxes.device)
        groups = torch.arange(self.num_groups, device=self.boxes.device)[:, None] * 2 * self.max_objects
        return (groups + objects).flatten(), objects.repeat(self.num_groups)


class CdnQueryGenerator(BaseModule):
    """Makes contrastive denoising queries: noisy objects to restore, and noisier ones to reject.

    Args:
        num_classes: Classes without background.
        embed_dims: Channels of a query.
        num_matching_queries: Number of queries that are matched with objects, beside these.
        label_noise_scale: Half of this share of labels is replaced by random ones.
        box_noise_scale: Noise of a side, relative to half the size of the box; 0 for none.
        group_cfg: ``dynamic`` makes as many groups as ``num_dn_queries`` allow, else there are ``num_groups``;
            ``ConfigError`` where it lacks what its kind needs.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        num_matching_queries: int,
        label_noise_scale: float = 0.5,
        box_noise_scale: float = 1.0,
        group_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        group_cfg = dict(group_cfg or {})
        self.dynamic = group_cfg.get('dynamic', True)
        self.size = group_cfg.get('num_dn_queries' if self.dynamic else 'num_groups')
        if not self.size or self.size < 1:
            raise ConfigError(
                f'group_cfg needs num_dn_queries if dynamic, else num_groups, at least 1; got {group_cfg}'
            )
        self.num_classes, self.embed_dims, self.num_matching_queries = num_classes, embed_dims, num_matching_queries
        self.label_noise_scale, self.box_noise_scale = label_noise_scale, box_noise_scale
        self.label_embedding = nn.Embedding(num_classes, embed_dims)

    def num_groups(self, max_objects: int) -> int:
        """How many groups there are if the fullest image has ``max_objects`` objects."""
        return max(self.size // max(max_objects, 1), 1) if self.dynamic else self.size

    def forward(self, samples: SampleList, num_matching_queries: int | None = None) -> DenoisingQueries:
        """Queries of the objects of all samples.

        ``num_matching_queries`` overrides the setting: small images have fewer proposals to match.
        """
        counts = [len(sample.gt_instances) for sample in samples]
        device = self.label_embedding.weight.device
        max_objects = max(counts)
        groups = self.num_groups(max_objects)
        labels = torch.cat([sample.gt_instances.labels for sample in samples])
        boxes = torch.cat([normalized_boxes(sample) for sample in samples])
        # noise is drawn for the objects of all images at once: first labels, then boxes
        noisy_content = self.label_embedding(self._noisy_labels(labels.repeat(2 * groups, 1)))
        noisy_boxes = self._noisy_boxes(boxes, groups)
        # images with fewer objects than the fullest one are padded with zeros, which are background and weigh nothing
        content = pad_sequence(noisy_content.float().transpose(0, 1).split(counts), batch_first=True)
        padded_boxes = pad_sequence(noisy_boxes.transpose(0, 1).split(counts), batch_first=True)
        mask = self._attention_mask(groups, max_objects, num_matching_queries or self.num_matching_queries, device)
        # (B, M, 2 * G, C) to (B, 2 * G * M, C)
        queries = [rows.transpose(1, 2).flatten(1, 2) for rows in (content, padded_boxes)]
        return DenoisingQueries(*queries, mask, groups, max_objects)

    def _noisy_labels(self, labels: Tensor) -> Tensor:
        # a random label may be the right one, so that less than half of label_noise_scale are wrong
        replaced = torch.rand(labels.shape, device=labels.device) < self.label_noise_scale * 0.5
        noisy = labels.clone()
        noisy[replaced] = torch.randint_like(labels[replaced], self.num_classes)
        return noisy

    def _noisy_boxes(self, boxes: Tensor, groups: int) -> Tensor:
        """Noisy cx, cy, w, h (2 * groups, n, 4) before the sigmoid, of boxes (n, 4) xyxy in [0, 1].

        Sides of positives move by less than half the size of the box, those of negatives by half to all of it.
        """
        boxes = boxes.expand(groups, 2, -1, 4)
        # positives move by [0, 1) and negatives by [1, 2) half sizes: lambda 1 and 2 of the paper
        half_size = (geometry.sizes(boxes) / 2).repeat(1, 1, 1, 2)
        sign = torch.randint_like(boxes, 0, 2) * 2 - 1
        is_negative = torch.arange(2, device=boxes.device)[:, None, None]
        noise = (torch.rand_like(boxes) + is_negative) * sign
        noisy = (boxes + noise * half_size * self.box_noise_scale).clamp(0, 1)
        # sides may have been swapped by the noise; the eps keeps the logit of a size below 0 finite
        return inverse_sigmoid(bbox_xyxy_to_cxcywh(noisy.flatten(0, 1)), eps=1e-3)

    @staticmethod
    def _attention_mask(groups: int, max_objects: int, matching: int, device: torch.device) -> Tensor:
        """True where a query must not look: groups don't see each other, and matching queries don't see groups."""
        # a query that saw another group, or the answers in it, would have nothing left to find out
        count = 2 * groups * max_objects
        # the matching queries get group numbers too, but never hide from each other: only noisy columns are hidden
        group = torch.arange(count + matching, device=device) // max(2 * max_objects, 1)
        is_noisy = torch.arange(len(group), device=device) < count
        return is_noisy[None] & (~is_noisy[:, None] | (group[None] != group[:, None]))


def normalized_boxes(sample: DetDataSample) -> Tensor:
    """The boxes (n, 4) xyxy of a sample's objects in [0, 1]."""
    boxes = geometry.require_horizontal(get_box_tensor(sample.gt_instances.bboxes), 'Query denoising')
    return boxes / geometry.image_sides(sample.img_shape, boxes)
