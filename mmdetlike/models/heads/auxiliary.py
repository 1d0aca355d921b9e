"""Auxiliary heads that give a transformer more positives to learn from: Co-DETR, arXiv 2211.12860.

Queries that are matched one to one with objects supervise an encoder sparsely. A dense or a region head on the
encoder's maps, which assigns many priors to each object, supervises it densely; and its positives are good positions
for further queries, whose objects are known without matching.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.layers.transformer import sine_encoding
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox_xyxy_to_cxcywh, geometry

from .query.common import QueryTargets, query_targets

# each a tensor, or a list of those of each level
LossTerms = dict[str, Tensor | list[Tensor]]


@dataclass
class AssignedPriors:
    """The priors of an image that an auxiliary head learned from: its p positives, then some negatives.

    Attributes:
        boxes: (n, 4) xyxy in pixels.
        feats: (n, C) what the encoder's maps hold there.
        objects: (p,) the object of each positive.
    """

    boxes: Tensor
    feats: Tensor
    objects: Tensor

    def resized(self, count: int, img_shape: Sequence[int]) -> 'AssignedPriors':
        """``count`` priors: a random choice of the positives if they are more; else negatives, then whole images."""
        if len(self.objects) > count:
            chosen = torch.randperm(len(self.objects), device=self.objects.device)[:count]
            return AssignedPriors(self.boxes[chosen], self.feats[chosen], self.objects[chosen])
        missing = max(count - len(self.boxes), 0)
        height, width = img_shape[:2]
        whole = self.boxes.new_tensor([0, 0, width, height]).expand(missing, 4)
        nothing = self.feats.new_zeros(missing, self.feats.shape[1])
        boxes = torch.cat([self.boxes[:count], whole])
        return AssignedPriors(boxes, torch.cat([self.feats[:count], nothing]), self.objects)


class AuxiliaryHead(BaseModule):
    """Base of what trains beside the queries and tells where it found objects, by ``loss_and_priors``.

    Args:
        embed_dims: Channels of the encoder's maps and of queries.
        num_classes: Classes without background.
        num_queries: The most queries of an image that are made of its positives.
        with_positions: Whether the decoder takes positions of queries; else it makes them from references.
    """

    def __init__(self, embed_dims: int, num_classes: int, num_queries: int = 300, with_positions: bool = False) -> None:
        super().__init__()
        self.embed_dims, self.num_classes = embed_dims, num_classes
        self.num_queries, self.with_positions = num_queries, with_positions
        encoded = embed_dims * 2 if with_positions else embed_dims
        self.box_embedding = nn.Sequential(nn.Linear(embed_dims * 2, encoded), nn.LayerNorm(encoded))
        self.feat_embedding = nn.Sequential(nn.Linear(embed_dims, embed_dims), nn.LayerNorm(embed_dims))

    def loss_and_priors(self, x: Sequence[Tensor], samples: SampleList) -> tuple[LossTerms, list[AssignedPriors]]:
        """Hook: loss terms of the head on maps (B, C, H_i, W_i), and the priors of each image that it learned from."""
        raise NotImplementedError

    def queries(
        self, priors: Sequence[AssignedPriors], samples: SampleList
    ) -> tuple[Tensor, Tensor | None, Tensor, QueryTargets]:
        """Queries at the assigned priors of each image, of equal number in all images.

        These are content (B, Q, C), positions (B, Q, C) if they are taken, references (B, Q, 4) cx, cy, w, h in [0, 1],
        and what the queries should predict.
        """
        # at least one, since all processes of a training must use the same layers
        most = max(1, *(len(image.objects) for image in priors))
        count = min(self.num_queries, most)
        chosen = [image.resized(count, sample.img_shape) for image, sample in zip(priors, samples)]
        shares = [
            image.boxes / geometry.image_sides(sample.img_shape, image.boxes) for image, sample in zip(chosen, samples)
        ]
        references = bbox_xyxy_to_cxcywh(torch.stack(shares)).clamp(0, 1)
        encoded = self.box_embedding(sine_encoding(references * (2 * torch.pi), self.embed_dims // 2).flatten(2))
        content = self.feat_embedding(torch.stack([image.feats for image in chosen]))
        positions = None
        if self.with_positions:
            positions, encoded = encoded.chunk(2, dim=-1)
        matches = [(torch.arange(len(image.objects), device=content.device), image.objects) for image in chosen]
        everyone = torch.ones(content.shape[:2], dtype=torch.bool, device=content.device)
        return content + encoded, positions, references, query_targets(matches, samples, everyone, self.num_classes)


@MODELS.register_module()
class AuxiliaryDenseHead(AuxiliaryHead):
    """A dense head with anchors, such as ``ATSSHead``, beside queries.

    Args:
        head: Config of the head, with its ``train_cfg``; the number of classes is added.
        embed_dims, num_classes, num_queries, with_positions: As of ``AuxiliaryHead``.
    """

    def __init__(
        self, head: dict, embed_dims: int, num_classes: int, num_queries: int = 300, with_positions: bool = False
    ) -> None:
        super().__init__(embed_dims, num_classes, num_queries, with_positions)
        self.head = MODELS.build(dict(head, num_classes=num_classes))

    def loss_and_priors(self, x: Sequence[Tensor], samples: SampleList) -> tuple[LossTerms, list[AssignedPriors]]:
        """The head's loss terms, and its anchors with the pixels that they belong to."""
        preds = self.head.flatten(self.head(x))
        targets = self.head.targets(preds, samples)
        losses = self.head.named_losses(self.head.target_losses(preds, targets, samples))
        # an anchor has the features of its cell; the anchors of a cell follow one another
        cells = [level.flatten(2).transpose(1, 2) for level in x]
        num_base = self.head.prior_generator.num_base_priors
        feats = torch.cat([level.repeat_interleave(n, dim=1) for level, n in zip(cells, num_base)], dim=1)
        counts = [len(sampling.pos_inds) for sampling in targets.samplings]
        priors = []
        for i, positives in enumerate((targets.pos_inds % len(preds.priors)).split(counts)):
            is_negative = (targets.labels[i] == self.head.num_classes) & (targets.label_weights[i] > 0)
            negatives = is_negative.nonzero().squeeze(1)
            some = torch.randperm(len(negatives), device=negatives.device)[: self.num_queries]
            rows = torch.cat([positives, negatives[some]])
            boxes = preds.priors.of_image(i).boxes[rows]
            priors.append(AssignedPriors(boxes, feats[i, rows], targets.samplings[i].pos_assigned_gt_inds))
        return losses, priors


@MODELS.register_module()
class AuxiliaryRegionHead(AuxiliaryHead):
    """A head that proposes regions, and one that classifies and refines them, beside queries.

    Args:
        rpn_head: Proposes regions.
        roi_head: Looks at them: a head of one stage, without masks; the number of classes is added to its box head.
        train_cfg: Its parts are ``rpn``, ``rpn_proposal`` and ``rcnn``, as of ``TwoStageDetector``.
        embed_dims, num_classes, num_queries, with_positions: As of ``AuxiliaryHead``.

    Raises:
        ConfigError: ``roi_head`` has several stages or branches beside its boxes.
    """

    def __init__(
        self,
        rpn_head: dict,
        roi_head: dict,
        train_cfg: dict,
        embed_dims: int,
        num_classes: int,
        num_queries: int = 300,
        with_positions: bool = False,
    ) -> None:
        super().__init__(embed_dims, num_classes, num_queries, with_positions)
        self.train_cfg = ConfigDict(train_cfg)
        self.rpn_head = MODELS.build(dict(rpn_head, num_classes=1, train_cfg=self.train_cfg.rpn))
        self.rpn_head.predicts_dataset_classes = False
        bbox_head = dict(roi_head['bbox_head'], num_classes=num_classes)
        self.roi_head = MODELS.build(dict(roi_head, bbox_head=bbox_head, train_cfg=self.train_cfg.rcnn))
        if self.roi_head.num_stages != 1 or self.roi_head.branches:
            raise ConfigError(f'{type(self).__name__} needs a roi_head of one stage that predicts boxes alone')

    def loss_and_priors(self, x: Sequence[Tensor], samples: SampleList) -> tuple[LossTerms, list[AssignedPriors]]:
        """The loss terms of both heads, and the sampled regions with the means of their features."""
        losses, proposals = self.rpn_head.loss_and_predict(x, samples, proposal_cfg=self.train_cfg.rpn_proposal)
        result = self.roi_head.stage(0, training=True).train(x, proposals, samples)
        losses.update(result.terms)
        feats = result.outs.feats[0].mean(dim=(2, 3)).split(result.outs.counts)
        priors = [
            AssignedPriors(sampled.sampled_priors, of_image, sampled.pos_assigned_gt_inds)
            for sampled, of_image in zip(result.sampled, feats)
        ]
        return losses, priors
