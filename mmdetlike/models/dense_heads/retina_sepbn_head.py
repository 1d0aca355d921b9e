"""RetinaNet's head with norm layers of each level's own: NAS-FPN, arXiv 1904.07392."""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.registry import MODELS

from .retina_head import RetinaHead
from .tower import run_tower, share_convolutions


@MODELS.register_module()
class RetinaSepBNHead(RetinaHead):
    """``RetinaHead`` whose towers share convolutions between levels, but not norm layers.

    Args:
        num_ins: Number of pyramid maps.
        kwargs: See ``RetinaHead``.
    """

    def __init__(self, num_classes: int, num_ins: int, in_channels: int, **kwargs) -> None:
        self.num_ins = num_ins
        super().__init__(num_classes, in_channels, **kwargs)

    def _tower(self) -> nn.ModuleList:
        """One tower a level."""
        return share_convolutions([super(RetinaSepBNHead, self)._tower() for _ in range(self.num_ins)])

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """See ``DenseHead``.

        Raises:
            ValueError: The number of maps differs from ``num_ins``.
        """
        if len(x) != self.num_ins:
            raise ValueError(f'the head was built for num_ins={self.num_ins} maps, got {len(x)}')
        return super().forward(x)

    def forward_level(self, level: int, x: Tensor) -> tuple[Tensor, ...]:
        """The maps of one level: classes and deltas."""
        cls_feat, reg_feat = run_tower(self.cls_convs[level], x), run_tower(self.reg_convs[level], x)
        return self.retina_cls(cls_feat), self.retina_reg(reg_feat)
