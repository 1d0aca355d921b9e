"""Focal Loss for Dense Object Detection, arXiv 1708.02002."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.models.layers.tower import run_tower, share_convolutions
from mmdetlike.registry import MODELS

from ..common import rare_classes_init
from .anchor_head import TowerHead

DEFAULT_ANCHORS = dict(
    type='AnchorGenerator',
    octave_base_scale=4,
    scales_per_octave=3,
    ratios=[0.5, 1.0, 2.0],
    strides=[8, 16, 32, 64, 128],
)


@MODELS.register_module()
class RetinaHead(TowerHead):
    """Two towers of convolutions, shared by all levels, for classes and for boxes. See ``TowerHead``."""

    default_init = rare_classes_init('retina_cls')

    def __init__(self, *args, anchor_generator: dict = DEFAULT_ANCHORS, **kwargs) -> None:
        super().__init__(*args, anchor_generator=anchor_generator, **kwargs)

    def _init_layers(self) -> None:
        self.cls_convs, self.reg_convs = self._tower(), self._tower()
        self.retina_cls = self._predictors(self.cls_out_channels)
        self.retina_reg = self._predictors(self.bbox_coder.encode_size)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """One level: class and delta maps."""
        cls_feat = run_tower(self.at_level(self.cls_convs, level), x)
        reg_feat = run_tower(self.at_level(self.reg_convs, level), x)
        return self.retina_cls(cls_feat), self.retina_reg(reg_feat)


@MODELS.register_module()
class RetinaSepBNHead(RetinaHead):
    """``RetinaHead`` whose towers share convolutions between levels, but not norm layers: NAS-FPN, arXiv 1904.07392.

    Args:
        num_ins: Number of pyramid maps.
        kwargs: See ``RetinaHead``.
    """

    def __init__(self, *args, num_ins: int, **kwargs) -> None:
        self.num_ins = num_ins
        super().__init__(*args, **kwargs)

    def _tower(self) -> nn.ModuleList:
        """One tower a level."""
        return share_convolutions([super(RetinaSepBNHead, self)._tower() for _ in range(self.num_ins)])

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """As ``DenseHead.forward``; raises a ``ValueError`` where the number of maps differs from ``num_ins``."""
        if len(x) != self.num_ins:
            raise ValueError(f'the head was built for num_ins={self.num_ins} maps, got {len(x)}')
        return super().forward(x)

    def at_level(self, layers: nn.ModuleList, level: int) -> nn.Module:
        return layers[level]
