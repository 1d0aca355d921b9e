"""Cascade RPN: Delving into High-Quality Region Proposal Network with Adaptive Convolution, arXiv 1909.06720."""

from collections.abc import Sequence
from dataclasses import replace

from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.task_modules import Priors
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList
from mmdetlike.structures.bbox import geometry
from mmdetlike_ops import DeformConv2d

from .predictions import DenseTargets, FlatPredictions, LossTerms
from .rpn_head import RPNHead

CASCADE_RPN_ANCHORS = dict(type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4, 8, 16, 32, 64])
DILATED_CONV = dict(type='dilation', dilation=3)
CELLS_OF_A_SAMPLE = 200  # a loss without a sampler is divided by the anchors over this


class AdaptiveConv(nn.Module):
    """The adaptive convolution of Cascade RPN: 3x3, with its taps spread over the anchor of each cell.

    That is ``type='offset'``. With ``type='dilation'``, for anchors that are all alike in a level, it is an ordinary
    convolution whose taps are ``dilation`` cells apart. Another ``type`` raises a ``ValueError``.
    """

    def __init__(self, in_channels: int, out_channels: int, type: str = 'dilation', dilation: int = 3) -> None:
        if type not in ('dilation', 'offset'):
            raise ValueError(f"adapt_cfg.type must be 'dilation' or 'offset', got {type!r}")
        super().__init__()
        self.follows_anchors = type == 'offset'
        if self.follows_anchors:
            self.conv = DeformConv2d(in_channels, out_channels, 3, padding=1)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        """Features (B, C, H, W) and, in cells, offsets (B or 1, 18, H, W) of the taps -> features (B, C', H, W)."""
        if not self.follows_anchors:
            return self.conv(x)
        return self.conv(x, offsets.expand(len(x), -1, -1, -1).to(x.dtype).contiguous())


def anchor_offsets(priors: Priors, cells: Tensor) -> Tensor:
    """Offsets (N, 18) or (B, N, 18) that move the taps of a 3x3 convolution at ``cells`` (N, 2) onto each anchor.

    There they form a grid around the anchor's center that reaches from side to side; y then x of each tap, in cells.
    """
    center = priors.points / priors.strides - cells
    # a tap is one cell from the middle anyway
    spread = geometry.sizes(priors.boxes) / priors.strides / 2 - 1
    taps = spread.new_tensor([(x, y) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    return (center.unsqueeze(-2) + spread.unsqueeze(-2) * taps).flip(-1).flatten(-2)


@MODELS.register_module()
class StageCascadeRPNHead(RPNHead):
    """One stage of ``CascadeRPNHead``: regress its anchors and, in the last stage, tell objects from background.

    Args:
        anchor_generator: Anchors of the first stage, one at a cell.
        adapt_cfg: ``type`` and ``dilation`` of ``AdaptiveConv``, the convolution whose taps follow the anchors.
        bridged_feature: Hand the features of this stage to the next one, not those that came.
        with_cls: Predict whether anchors are objects, as the last stage must.
    """

    def __init__(
        self,
        in_channels: int,
        anchor_generator: dict = CASCADE_RPN_ANCHORS,
        adapt_cfg: dict = DILATED_CONV,
        bridged_feature: bool = False,
        with_cls: bool = True,
        **kwargs,
    ) -> None:
        self.adapt_cfg, self.bridged_feature, self.with_cls = adapt_cfg, bridged_feature, with_cls
        self.map_names = ('cls_score', 'bbox_pred') if with_cls else ('bbox_pred',)
        super().__init__(in_channels, anchor_generator=anchor_generator, **kwargs)

    def build_layers(self) -> None:
        self.rpn_conv = AdaptiveConv(self.in_channels, self.feat_channels, **self.adapt_cfg)
        if self.with_cls:
            self.rpn_cls = nn.Conv2d(self.feat_channels, self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.feat_channels, 4, 1)

    def refine(self, x: Sequence[Tensor], priors: Priors) -> tuple[list[Tensor], FlatPredictions]:
        """Predict at ``priors``: the features for the next stage, and the predictions."""
        sizes = [tuple(level.shape[-2:]) for level in x]
        unmoved = self.priors(sizes, x[0].device)
        offsets = anchor_offsets(priors, unmoved.points / unmoved.strides).split([h * w for h, w in sizes], dim=-2)
        features = []
        for level, size, of_level in zip(x, sizes, offsets):
            by_channel = of_level.view(-1, *size, of_level.shape[-1]).permute(0, 3, 1, 2)
            features.append(self.rpn_conv(level, by_channel).relu())
        outs = [[self.rpn_cls(level) for level in features]] if self.with_cls else []
        outs.append([self.rpn_reg(level) for level in features])
        return features if self.bridged_feature else list(x), self.flatten(outs, priors)

    def next_priors(self, preds: FlatPredictions, img_shapes: Sequence[tuple[int, int]] | None) -> Priors:
        """The next stage's anchors: each image's boxes without gradient, clipped to it if ``img_shapes`` are given."""
        shapes = None if img_shapes is None else [shape[:2] for shape in img_shapes]
        boxes = self.bbox_coder.decode(preds.priors.boxes, preds.bbox_pred.detach(), max_shape=shapes)
        return preds.priors.moved_to(boxes)

    def target_losses(self, preds: FlatPredictions, targets: DenseTargets, samples: SampleList) -> LossTerms:
        """``cls`` over all anchors, if there are classes, and ``reg`` over the positives, one value a level."""
        # all anchors take part, so there is no number of samples to divide by; the factor is that of the authors
        if 'sampler' not in self.train_cfg:
            targets = replace(targets, avg_factor=targets.labels.numel() / CELLS_OF_A_SAMPLE)
        terms = super().target_losses(preds, targets, samples)
        return {name if name == 'cls' else 'reg': value for name, value in terms.items()}


@MODELS.register_module()
class CascadeRPNHead(BaseModule):
    """Region proposals in stages: the boxes of one are the anchors of the next.

    Args:
        num_stages: Number of stages.
        stages: A ``StageCascadeRPNHead`` each.
        train_cfg: Settings of training, for each stage its own.
        test_cfg: Settings of testing.
        num_classes: Must be 1: object or not.

    Raises:
        ValueError: There is another number of stages or of their settings, or ``num_classes`` is not 1.
    """

    predicts_dataset_classes = False

    def __init__(
        self,
        num_stages: int,
        stages: Sequence[dict],
        train_cfg: Sequence[dict] | None = None,
        test_cfg: dict | None = None,
        num_classes: int = 1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        train_cfgs = train_cfg or [None] * num_stages
        if len(stages) != num_stages or len(train_cfgs) != num_stages:
            raise ValueError(
                f'num_stages={num_stages} needs as many stages and entries of train_cfg, '
                f'got {len(stages)} and {len(train_cfgs)}'
            )
        self.num_classes = num_classes
        self.test_cfg = ConfigDict(test_cfg or {})
        own = dict(num_classes=num_classes, test_cfg=test_cfg)
        built = [MODELS.build(dict(stage, train_cfg=cfg, **own)) for stage, cfg in zip(stages, train_cfgs)]
        self.stages = nn.ModuleList(built)

    def run(
        self, x: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]] | None = None
    ) -> list[tuple[StageCascadeRPNHead, FlatPredictions]]:
        """Run one stage after another: each with its predictions, boxes clipped where ``img_shapes`` are given."""
        sizes = [tuple(level.shape[-2:]) for level in x]
        priors = self.stages[0].priors(sizes, x[0].device)
        outputs = []
        for stage in self.stages:
            x, preds = stage.refine(x, priors)
            outputs.append((stage, preds))
            priors = stage.next_priors(preds, img_shapes)
        return outputs

    def forward(self, x: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """The predictions of each stage by name, (B, N, channels)."""
        return [preds.maps for _, preds in self.run(x)]

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> LossTerms:
        """Loss terms of all stages."""
        return self.loss_and_predict(x, batch_data_samples)[0]

    def predict(self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = False) -> list[InstanceData]:
        """Proposals of each image, see ``DenseHead.predict``."""
        stage, preds = self.run(x, [sample.img_shape for sample in batch_data_samples])[-1]
        return stage.predict_flat(preds, batch_data_samples, self.test_cfg, rescale)

    def detect_maps(self, x: Sequence[Tensor], img_shapes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """Proposals of each image, of ``img_shapes``, of tensors alone; see ``DenseHead.detect_maps``."""
        stage, preds = self.run(x, img_shapes)[-1]
        return stage.detect_flat(preds, img_shapes, self.test_cfg)

    def loss_and_predict(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, proposal_cfg: ConfigDict | None = None
    ) -> tuple[LossTerms, list[InstanceData]]:
        """Loss terms ``s0.loss_rpn_reg`` and so on, and proposals, which carry no gradient."""
        outputs = self.run(x, [sample.img_shape for sample in batch_data_samples])
        losses = {}
        for i, (stage, preds) in enumerate(outputs):
            terms = stage.named_losses(stage.compute_losses(preds, batch_data_samples))
            losses.update({f's{i}.{name}': value for name, value in terms.items()})
        stage, preds = outputs[-1]
        return losses, stage.predict_flat(preds.detach(), batch_data_samples, proposal_cfg or self.test_cfg, False)
