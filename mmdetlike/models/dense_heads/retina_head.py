"""Focal Loss for Dense Object Detection, arXiv 1708.02002."""

from torch import Tensor

from mmdetlike.registry import MODELS

from .anchor_head import TowerHead
from .head import rare_classes_init
from .tower import run_tower

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
        return self.retina_cls(run_tower(self.cls_convs, x)), self.retina_reg(run_tower(self.reg_convs, x))
