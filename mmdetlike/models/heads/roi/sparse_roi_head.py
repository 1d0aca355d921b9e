"""Sparse R-CNN, arXiv 2011.12450, and QueryInst, arXiv 2105.01928."""

from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules import SamplingResult
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import bbox2roi, bbox_cxcywh_to_xyxy
from mmdetlike.utils.sizes import size_tensor

from .cascade_roi_head import CascadeRoIHead
from .query_masks import QueryMaskBranch
from .stage import Stage, StageOutputs, StageResult

DEFAULT_EXTRACTOR = dict(
    type='SingleRoIExtractor',
    roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=2),
    out_channels=256,
    featmap_strides=[4, 8, 16, 32],
)


@MODELS.register_module()
class EmbeddingRPNHead(BaseModule):
    """Boxes, in shares of the image, and features of proposals as parameters.

    Args:
        num_proposals, proposal_feature_channel: How many, and channels of their features.
        num_classes: Kept for detectors, which tell each first stage that it has one class.
        train_cfg, test_cfg: Kept for detectors: nothing is assigned or suppressed here.
        init_cfg: Weight initialization; by default each box is the whole image.
    """

    def __init__(
        self,
        num_proposals: int = 100,
        proposal_feature_channel: int = 256,
        num_classes: int = 1,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_proposals, self.proposal_feature_channel = num_proposals, proposal_feature_channel
        self.init_proposal_bboxes = nn.Embedding(num_proposals, 4)
        self.init_proposal_features = nn.Embedding(num_proposals, proposal_feature_channel)

    def init_weights(self) -> None:
        """Initialize; boxes begin as the whole image, center (0.5, 0.5) and size (1, 1)."""
        super().init_weights()
        if self.init_cfg is None:
            nn.init.constant_(self.init_proposal_bboxes.weight[:, :2], 0.5)
            nn.init.constant_(self.init_proposal_bboxes.weight[:, 2:], 1)

    def forward(self, x: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Boxes (num_proposals, 4), center and size in shares of the image, and features (num_proposals, C)."""
        return self.init_proposal_bboxes.weight, self.init_proposal_features.weight

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = False) -> list[InstanceData]:
        """The proposals of each image: ``bboxes`` (n, 4) xyxy in pixels and ``features`` (n, C)."""
        found = self.detect_maps(x, [sample.img_shape for sample in batch_data_samples])
        return [InstanceData(bboxes=image['boxes'], features=image['features']) for image in found]

    def detect_maps(self, x: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """The proposals of each image as tensors: ``boxes`` (n, 4) xyxy in pixels and ``features`` (n, C)."""
        shares, features = self(x)
        corners = bbox_cxcywh_to_xyxy(shares)
        found = []
        for height, width, *_ in img_shapes:
            size = size_tensor([width, height, width, height], dtype=corners.dtype, device=corners.device)
            found.append(dict(boxes=corners * size, features=features))
        return found

    def loss_and_predict(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, proposal_cfg: ConfigDict | None = None
    ) -> tuple[dict[str, Tensor], list[InstanceData]]:
        """No loss, and the proposals: they learn from the losses of the region head."""
        return {}, self.predict(x, batch_data_samples)


class QueryStage(Stage):
    """One pass over queries: proposals that have ``features`` (Q, C) beside ``bboxes`` (Q, 4), Q the same everywhere.

    Nothing is sampled: the head predicts for all queries, and its predictions are matched to the objects. The next
    stage starts from the boxes and the features that this one predicts.
    """

    def run(self, x: Sequence[Tensor], proposals: Sequence[InstanceData]) -> StageOutputs:
        """Extract features of the queries' boxes from feature maps ``x`` and run the head; see ``DIIHead``."""
        rois = bbox2roi([image.bboxes for image in proposals])
        feats = self.extract(x, rois)
        queries = torch.stack([image.features for image in proposals])
        return StageOutputs(rois, [len(image) for image in proposals], feats, self.head(*feats, queries, rois))

    def train(self, x: Sequence[Tensor], proposals: Sequence[InstanceData], samples: SampleList) -> StageResult:
        """Loss terms of the queries' predictions, matched to the samples' objects."""
        outs = self.run(x, proposals)
        matched = self.match(outs, samples)
        image_sizes = [sample.img_shape for sample in samples]
        return StageResult(self.head.loss(outs.preds, matched, self.cfg, image_sizes), outs, matched)

    def match(self, outs: StageOutputs, samples: SampleList) -> list[SamplingResult]:
        """Assign each image's objects to what its queries predict; the predicted boxes are the result's priors."""
        results = []
        for preds, sample in zip(self.head.split(outs.preds, outs.counts), samples):
            boxes = preds.bboxes.detach()
            self.objects_to_learn(sample)  # raises for rotated ones
            candidates = InstanceData(scores=preds.cls_score.detach(), bboxes=boxes, priors=boxes)
            # costs of boxes are shares of the image
            candidates.set_metainfo(dict(img_shape=sample.img_shape))
            assigned = self.assigner.assign(candidates, sample.gt_instances)
            results.append(self.sampler.sample(assigned, candidates, sample.gt_instances))
        return results

    def at_predicted_boxes(self, result: StageResult, samples: SampleList) -> list[SamplingResult]:
        """What was matched: its priors are the predicted boxes already."""
        return result.sampled

    def next_proposals(
        self, outs: StageOutputs, samples: SampleList, sampled: Sequence[SamplingResult] | None = None
    ) -> list[InstanceData]:
        """All queries with their predicted boxes, which carry no gradient, and features, which do."""
        return [
            InstanceData(bboxes=preds.bboxes.detach(), features=preds.features)
            for preds in self.head.split(outs.preds, outs.counts)
        ]


@MODELS.register_module()
class SparseRoIHead(CascadeRoIHead):
    """A cascade over learned proposals, whose features go from stage to stage; of a box and, with masks, its mask.

    Args:
        num_stages, stage_loss_weights, bbox_roi_extractor: As of ``CascadeRoIHead``.
        proposal_feature_channel: Channels of the proposals' features.
        mask_roi_extractor: Pools features for masks.
        bbox_head: A ``DIIHead``, or a list of one for each stage.
        mask_head: A ``DynamicMaskHead``, or a list of one for each stage; None for a detector of boxes.
        train_cfg: See ``RoIHead``; the sampler must keep all proposals, as ``PseudoSampler`` does.
        test_cfg: ``max_per_img`` and, for masks, ``mask_thr_binary``.

    Raises:
        ConfigError: ``proposal_feature_channel`` differs from ``in_channels`` of the box heads, or masks share the
            features of boxes.
    """

    stage_class = QueryStage
    mask_branch_class = QueryMaskBranch
    fields_for_branches = ('query_features',)

    def __init__(
        self,
        num_stages: int = 6,
        stage_loss_weights: Sequence[float] = (1, 1, 1, 1, 1, 1),
        proposal_feature_channel: int = 256,
        bbox_roi_extractor: dict = DEFAULT_EXTRACTOR,
        mask_roi_extractor: dict | None = None,
        bbox_head: dict | Sequence[dict] = {'type': 'DIIHead'},  # noqa: B006
        mask_head: dict | Sequence[dict] | None = None,
        train_cfg: dict | Sequence[dict] | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            num_stages,
            stage_loss_weights,
            bbox_roi_extractor=bbox_roi_extractor,
            mask_roi_extractor=mask_roi_extractor,
            bbox_head=bbox_head,
            mask_head=mask_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        widths = {head.in_channels for head in self.bbox_head}
        if widths != {proposal_feature_channel}:
            raise ConfigError(
                f'proposal_feature_channel={proposal_feature_channel} must be in_channels of every bbox_head, '
                f'got {sorted(widths)}'
            )
        if self.with_mask and mask_roi_extractor is None:
            raise ConfigError('SparseRoIHead with a mask_head needs a mask_roi_extractor')
