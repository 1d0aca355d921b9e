"""VGG: Very Deep Convolutional Networks, arXiv 1409.1556, as the backbone of SSD, arXiv 1512.02325."""

from collections.abc import Sequence

from torch import nn

from mmdetlike.registry import MODELS

from .staged import StagedBackbone, check_choice, weight_init

# convolutions of each of the five stages
STAGE_CONVS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
STAGE_CHANNELS = (64, 128, 256, 512, 512)


@MODELS.register_module()
class SSDVGG(StagedBackbone):
    """VGG without classifier and with two convolutions more, all layers in a row as ``features``.

    Args:
        depth: 11, 13, 16 or 19.
        with_last_pool: Keep the pooling that ends VGG's last stage.
        ceil_mode: Whether pooling rounds odd sides up.
        out_indices, input_size: Kept for configs.
        out_feature_indices: Indices in ``features`` of the layers whose maps ``forward`` returns; an index that this
            depth does not have is passed over.
        pretrained, init_cfg: As of ``StagedBackbone``; by default Kaiming for convolutions and 1 for norm layers.
        l2_norm_scale: Kept for configs; the scale is an argument of ``SSDNeck``.

    Raises:
        ValueError: ``depth`` is unknown or none of ``out_feature_indices`` exists.

    Examples:
        >>> maps = SSDVGG(depth=11).eval()(torch.rand(1, 3, 300, 300))
        >>> [tuple(m.shape) for m in maps]
        [(1, 1024, 19, 19)]
    """

    def __init__(
        self,
        depth: int,
        with_last_pool: bool = False,
        ceil_mode: bool = True,
        out_indices: Sequence[int] = (3, 4),
        out_feature_indices: Sequence[int] = (22, 34),
        pretrained: str | None = None,
        init_cfg: dict | list[dict] | None = None,
        input_size: int | None = None,
        l2_norm_scale: float | None = None,
    ) -> None:
        check_choice('depth', depth, list(STAGE_CONVS))
        layers = vgg_layers(depth, ceil_mode, with_last_pool)
        used = [i for i in out_feature_indices if i < len(layers)]
        if not used:
            raise ValueError(
                f'out_feature_indices must name some of the {len(layers)} layers of depth {depth}, '
                f'got {tuple(out_feature_indices)}'
            )
        super().__init__(used, 0, norm_eval=False, init_cfg=weight_init(pretrained, init_cfg))
        self.features = nn.Sequential(*layers)
        self.stage_names = [f'features.{i}' for i in range(len(layers))]

    def init_weights(self, pretrained: str | None = None) -> None:
        """Initialize as ``init_cfg`` says, or from the checkpoint ``pretrained`` where one is given."""
        if pretrained is not None:
            self.init_cfg = weight_init(pretrained, None)
        super().init_weights()


def vgg_layers(depth: int, ceil_mode: bool, with_last_pool: bool) -> list[nn.Module]:
    """Convolutions, activations and poolings of a VGG in a row, and its fully connected layers as convolutions."""
    layers: list[nn.Module] = []
    channels = 3
    for width, num_convs in zip(STAGE_CHANNELS, STAGE_CONVS[depth]):
        for _ in range(num_convs):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=ceil_mode))
    # the pooling before the last convolutions has stride 1, not VGG's 2, so the first one is dilated (SSD, section 3)
    return [
        *(layers if with_last_pool else layers[:-1]),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
        nn.ReLU(inplace=True),
        nn.Conv2d(1024, 1024, 1),
        nn.ReLU(inplace=True),
    ]
