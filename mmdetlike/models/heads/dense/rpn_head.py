"""Region proposals: Faster R-CNN, arXiv 1506.01497."""

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.models.layers import build_tower
from mmdetlike.registry import MODELS
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.bbox import geometry, get_box_tensor

from ..common import BINARY_CROSS_ENTROPY
from .anchor_head import DEFAULT_ANCHORS, DELTA_CODER, SMOOTH_L1_LOSS, AnchorHead
from .predictions import Candidates, FlatPredictions


@MODELS.register_module()
class RPNHead(AnchorHead):
    """Tell objects from background at each anchor and propose the objects' boxes.

    Args:
        num_classes: Must be 1: object or not.
        num_convs: 3x3 convolutions before the two predicting ones.
        in_channels, feat_channels, anchor_generator, bbox_coder, reg_decoded_bbox: As of ``AnchorHead``.
        loss_cls, loss_bbox, train_cfg, test_cfg, init_cfg: As of ``AnchorHead``.

    Raises:
        ValueError: ``num_classes`` is not 1.
    """

    loss_prefix = 'loss_rpn_'
    predicts_dataset_classes = False

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 1,
        num_convs: int = 1,
        feat_channels: int = 256,
        anchor_generator: dict = DEFAULT_ANCHORS,
        bbox_coder: dict = DELTA_CODER,
        reg_decoded_bbox: bool = False,
        loss_cls: dict = BINARY_CROSS_ENTROPY,
        loss_bbox: dict = SMOOTH_L1_LOSS,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if num_classes != 1:
            raise ValueError(f'RPNHead tells objects from background: num_classes must be 1, got {num_classes}')
        self.num_convs = num_convs
        boxes = dict(anchor_generator=anchor_generator, bbox_coder=bbox_coder, reg_decoded_bbox=reg_decoded_bbox)
        losses = dict(loss_cls=loss_cls, loss_bbox=loss_bbox)
        settings = dict(train_cfg=train_cfg, test_cfg=test_cfg, init_cfg=init_cfg)
        super().__init__(num_classes, in_channels, feat_channels, **boxes, **losses, **settings)

    def build_layers(self) -> None:
        if self.num_convs > 1:
            tower = build_tower(self.in_channels, self.feat_channels, self.num_convs, inplace=False)
            self.rpn_conv = nn.Sequential(*tower)
        else:
            self.rpn_conv = nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 1)
        self.rpn_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * self.bbox_coder.encode_size, 1)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        # after ConvModules, which end in a ReLU whose result autograd needs as it is, this one changes nothing
        x = F.relu(self.rpn_conv(x), inplace=self.num_convs == 1)
        return self.rpn_cls(x), self.rpn_reg(x)

    def gt_instances(self, sample: DetDataSample) -> InstanceData:
        """All objects as one class; where axis-aligned boxes are proposed, rotated objects by their enclosing boxes."""
        boxes = get_box_tensor(sample.gt_instances.bboxes)
        if self.bbox_coder.box_dim == geometry.HORIZONTAL:
            boxes = geometry.to_horizontal(boxes)
        return InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long, device=boxes.device))

    def nms_groups(self, candidates: Candidates, preds: FlatPredictions) -> Tensor:
        """Proposals of different levels don't suppress each other."""
        # there is one class; and objects of the size of one level are seldom found on another: FPN, arXiv 1612.03144
        return preds.priors.level_ids[candidates.prior_inds]
