"""What torchvision's detectors share: input, ResNet with FPN, anchors, coders."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmdetlike.errors import ConfigError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# what torchvision calls weights of detectors
PUBLISHED_WEIGHTS = ('COCO_V1', 'COCO_LEGACY', 'DEFAULT')
RESNET_CHANNELS = (256, 512, 1024, 2048)


@dataclass
class Arguments:
    """Arguments that every function takes.

    Attributes:
        num_classes: Classes with background, which is the first.
        weights: Name of published weights, e.g. ``'COCO_V1'``; None for none.
        weights_backbone: Name of published weights of the backbone; None for none.
        trainable_backbone_layers: How many stages of the backbone, from the last, are trained; None for the default.

    Raises:
        ConfigError: No weights are published by the name ``weights``.
    """

    num_classes: int
    weights: str | None = None
    weights_backbone: str | None = None
    trainable_backbone_layers: int | None = None

    def __post_init__(self) -> None:
        name = None if self.weights is None else str(self.weights).rsplit('.', 1)[-1]
        if name is not None and name not in PUBLISHED_WEIGHTS:
            raise ConfigError(f'weights must be one of {", ".join(PUBLISHED_WEIGHTS)}, got {self.weights!r}')

    @property
    def is_trained(self) -> bool:
        """Whether the backbone starts from weights, which then are partly frozen."""
        return self.weights is not None or self.weights_backbone is not None

    @property
    def foreground(self) -> int:
        """Classes without background."""
        return self.num_classes - 1


def preprocessor(mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD, **settings) -> dict:
    """How pictures are normalized, whose pixels torchvision counts from 0 to 1 and in RGB.

    Args:
        mean: Of the channels red, green and blue, 0 to 1.
        std: Their deviations.
        settings: ``pad_mask`` and the like of ``DetDataPreprocessor``.
    """
    return dict(
        type='DetDataPreprocessor',
        mean=[255 * value for value in mean],
        std=[255 * value for value in std],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        **settings,
    )


def resnet50(
    arguments: Arguments, out_indices: Sequence[int], batch_norm: bool = False, published_without_eps: bool = True
) -> dict:
    """ResNet-50; its batch norms are frozen where it starts from weights, unless ``batch_norm``.

    Args:
        arguments: Of the function.
        out_indices: Stages whose maps are used.
        batch_norm: Train its norms in any case.
        published_without_eps: The published weights are of a time when frozen norms had no eps.

    Raises:
        ConfigError: ``trainable_backbone_layers`` is not 0 to 5.
    """
    trainable = trained_layers(arguments, most=5, usual=3)
    norm = norm_layer(arguments.is_trained and not batch_norm)
    if norm['type'] == 'FrozenBN' and published_without_eps and _is_first_version(arguments.weights):
        norm['eps'] = 0.0
    return dict(
        type='ResNet',
        depth=50,
        out_indices=list(out_indices),
        # the fifth layer is the norm of the stem, without which the stem counts as frozen
        frozen_stages=min(4 - trainable, 4),
        norm_cfg=norm,
        norm_eval=False,
        style='pytorch',
    )


def trained_layers(arguments: Arguments, most: int, usual: int) -> int:
    """How many stages of the backbone are trained: all where it starts from nothing, else ``usual`` ones by default.

    Raises:
        ConfigError: ``trainable_backbone_layers`` is not 0 to ``most``.
    """
    trainable = arguments.trainable_backbone_layers
    if trainable is None:
        return usual if arguments.is_trained else most
    if trainable not in range(most + 1):
        raise ConfigError(f'trainable_backbone_layers must be 0 to {most}, got {trainable!r}')
    return trainable


def norm_layer(frozen: bool) -> dict:
    """Frozen or common batch norms."""
    return dict(type='FrozenBN') if frozen else dict(type='BN')


def _is_first_version(weights: str | None) -> bool:
    return weights is not None and weights.rsplit('.', 1)[-1] in ('COCO_V1', 'DEFAULT')


# where MobileNet's maps change their size: what torchvision counts as its six stages begins there
MOBILENET_STAGES = (0, 2, 4, 7, 13, 16)


def mobilenet(trainable: int, norm_cfg: dict, **settings) -> dict:
    """MobileNetV3-Large of which so many of six stages, from the last, are trained."""
    frozen = 17 if trainable == 0 else MOBILENET_STAGES[6 - trainable]
    return dict(type='MobileNetV3', out_indices=[13, 16], frozen_stages=frozen, norm_cfg=norm_cfg, **settings)


def anchors(strides: Sequence[float], sizes: Sequence[Sequence[float]], ratios: Sequence[float]) -> dict:
    """Anchors in whole pixels, the same ratios on each level."""
    return dict(
        type='SizedAnchorGenerator',
        strides=list(strides),
        sizes=[list(level) for level in sizes],
        ratios=[list(ratios)] * len(strides),
        rounded=True,
    )


def coder(stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> dict:
    """Deltas divided by ``stds``; shrinking is not bounded."""
    return dict(type='DeltaXYWHBBoxCoder', target_stds=list(stds), bound_shrinking=False)


def assigner(positive: float, negative: float, low_quality: bool) -> dict:
    """Assignment by overlap with the thresholds of positives and negatives."""
    return dict(
        type='MaxIoUAssigner',
        pos_iou_thr=positive,
        neg_iou_thr=negative,
        min_pos_iou=0.0 if low_quality else positive,
        match_low_quality=low_quality,
        ignore_iof_thr=-1,
    )


def sampler(number: int, positive_fraction: float, add_gt: bool) -> dict:
    """A random sampler."""
    return dict(
        type='RandomSampler', num=number, pos_fraction=positive_fraction, neg_pos_ub=-1, add_gt_as_proposals=add_gt
    )
