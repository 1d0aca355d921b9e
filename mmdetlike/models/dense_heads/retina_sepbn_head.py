"""RetinaNet's head with norm layers of each level's own: NAS-FPN, arXiv 1904.07392."""

from torch import Tensor, nn

from mmdetlike.registry import MODELS

from .retina_head import RetinaHead


@MODELS.register_module()
class RetinaSepBNHead(RetinaHead):
    """``RetinaHead`` whose towers share convolutions between levels, but not norm layers.

    Args:
        num_classes: Classes without background.
        num_ins: Number of pyramid maps.
        in_channels: Channels of the pyramid maps.
        kwargs: See ``RetinaHead``.
    """

    def __init__(self, num_classes: int, num_ins: int, in_channels: int, **kwargs) -> None:
        self.num_ins = num_ins
        super().__init__(num_classes, in_channels, **kwargs)

    def _tower(self) -> nn.ModuleList:
        """One tower a level, the convolutions being those of the first one."""
        towers = [super(RetinaSepBNHead, self)._tower() for _ in range(self.num_ins)]
        for tower in towers[1:]:
            for layer, first in zip(tower, towers[0]):
                layer.conv = first.conv
        return nn.ModuleList(towers)

    def forward(self, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps (B, C, H_i, W_i) -> class maps (B, A * classes, H_i, W_i) and delta maps (B, A * 4, H_i, W_i).

        Raises:
            ValueError: The number of maps differs from ``num_ins``.
        """
        if len(x) != self.num_ins:
            raise ValueError(f'the head was built for num_ins={self.num_ins} maps, got {len(x)}')
        cls_scores = [self.retina_cls(_run(tower, level)) for tower, level in zip(self.cls_convs, x)]
        bbox_preds = [self.retina_reg(_run(tower, level)) for tower, level in zip(self.reg_convs, x)]
        return cls_scores, bbox_preds


def _run(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x
