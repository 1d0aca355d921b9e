"""CornerNet and its successor: objects as pairs of corners."""

from tests.models.tiny import PREPROCESSOR

from .common import family

HOURGLASS = dict(
    type='HourglassNet',
    downsample_times=2,
    num_stacks=2,
    stage_channels=(8, 8, 12),
    stage_blocks=(1, 1, 1),
    feat_channel=8,
)
# random classes, embeddings and shifts bring few corners together
TEST = dict(
    corner_topk=100,
    local_maximum_kernel=3,
    distance_threshold=10.0,
    score_thr=0.05,
    max_per_img=20,
    nms=dict(type='soft_nms', iou_threshold=0.5, method='gaussian'),
)


def corner_detector(head: str, num_classes: int, **changes) -> dict:
    """Config of a detector with hourglasses and a head of corners."""
    return dict(
        type='CornerNet',
        data_preprocessor=PREPROCESSOR,
        backbone=HOURGLASS,
        bbox_head=dict(type=head, num_classes=num_classes, in_channels=8, **changes),
        test_cfg=TEST,
    )


@family
def cornernet(num_classes: int = 3) -> dict:
    return corner_detector('CornerHead', num_classes)


@family
def centripetalnet(num_classes: int = 3) -> dict:
    return corner_detector('CentripetalHead', num_classes)
