"""Settings that several parts of a Detectron2 model share: norm layers, losses of boxes, strides."""

from collections.abc import Mapping, Sequence

from mmdetlike.errors import ConfigError

NORMS = {
    'FrozenBN': dict(type='FrozenBN'),
    'BN': dict(type='BN'),
    'SyncBN': dict(type='SyncBN'),
    'GN': dict(type='GN', num_groups=32),
}


def choose(value, choices: Mapping, key: str):
    """What ``choices`` has for a setting.

    Raises:
        ConfigError: It has nothing for it; the message names the key of the Detectron2 config.
    """
    if value not in choices:
        expected = ', '.join(map(repr, choices))
        raise ConfigError(f'{key} is {value!r}, which has no counterpart here: expected one of {expected}')
    return choices[value]


def norm_config(name: str, key: str) -> dict | None:
    """Our ``norm_cfg`` of a ``NORM``; None for the empty name."""
    return None if name == '' else dict(choose(name, NORMS, key))


def box_loss(kind: str, beta: float, weight: float, key: str) -> dict:
    """Our regression loss of a ``BBOX_REG_LOSS_TYPE``, its ``SMOOTH_L1_BETA`` and its weight."""
    if kind == 'smooth_l1':
        # without a quadratic part it is L1, which a division by beta can't say
        return dict(type='SmoothL1Loss', beta=beta, loss_weight=weight) if beta > 0 else l1_loss(weight)
    iou_losses = {'giou': 'GIoULoss', 'diou': 'DIoULoss', 'ciou': 'CIoULoss'}
    return dict(type=choose(kind, iou_losses, key), loss_weight=weight)


def l1_loss(weight: float) -> dict:
    """L1, whose config has no beta."""
    return dict(type='L1Loss', loss_weight=weight)


def is_iou_loss(kind: str) -> bool:
    """Whether a ``BBOX_REG_LOSS_TYPE`` compares boxes in pixels, not deltas."""
    return kind != 'smooth_l1'


def coder(weights: Sequence[float]) -> dict:
    """Our coder of ``BBOX_REG_WEIGHTS``, factors of the deltas, which are divided by deviations here."""
    stds = [1 / weight for weight in weights]
    if len(stds) == 5:
        return dict(type='DeltaXYWHTurnBBoxCoder', target_stds=stds)
    return dict(type='DeltaXYWHBBoxCoder', target_stds=stds, bound_shrinking=False)


def is_rotated(model: Mapping) -> bool:
    """Whether a ``MODEL`` proposes rotated boxes."""
    return model['PROPOSAL_GENERATOR']['NAME'] == 'RRPN'


def suppression(model: Mapping, threshold: float) -> dict:
    """Our ``nms`` of a ``NMS_THRESH``."""
    return dict(type='nms_rotated' if is_rotated(model) else 'nms', iou_threshold=threshold)


def feature_stride(name: str, resnets: Mapping) -> int:
    """Stride in pixels of the feature map ``res4``, ``p6``, ..."""
    stride = 2 ** int(name[-1])
    # the last stages of DC5 and DeepLab are dilated where they would stride; DeepLab alone has a key for res4
    dilation = {'res4': resnets.get('RES4_DILATION', 1), 'res5': resnets['RES5_DILATION']}.get(name, 1)
    return stride // dilation


def assigner(
    thresholds: Sequence[float], labels: Sequence[int], low_quality: bool, key: str, rotated: bool = False
) -> dict:
    """Our assigner of ``IOU_THRESHOLDS`` and ``IOU_LABELS``, of rotated boxes where ``rotated``.

    Raises:
        ConfigError: The labels are not those of negatives, perhaps ignored ones, and positives.
    """
    if list(labels) not in ([0, 1], [0, -1, 1]) or len(thresholds) != len(labels) - 1:
        raise ConfigError(
            f'{key}.IOU_LABELS is {list(labels)} with IOU_THRESHOLDS {list(thresholds)}: expected [0, 1] with one '
            'threshold or [0, -1, 1] with two'
        )
    return dict(
        type='MaxIoUAssigner',
        neg_iou_thr=thresholds[0],
        pos_iou_thr=thresholds[-1],
        min_pos_iou=0.0 if low_quality else thresholds[-1],
        match_low_quality=low_quality,
        ignore_iof_thr=-1,
        iou_calculator=dict(type='RBboxOverlaps2D' if rotated else 'BboxOverlaps2D'),
    )


def sampler(number: int, positive_fraction: float, add_gt: bool) -> dict:
    """Our random sampler of ``BATCH_SIZE_PER_IMAGE`` and ``POSITIVE_FRACTION``."""
    return dict(
        type='RandomSampler',
        num=number,
        pos_fraction=positive_fraction,
        neg_pos_ub=-1,
        add_gt_as_proposals=add_gt,
    )
