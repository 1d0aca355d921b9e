"""How torchvision's reference scripts train and evaluate a detector, as settings of ours."""

from dataclasses import dataclass

META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
DATA_ROOT = 'data/coco/'
# torchvision's scripts count on eight GPUs
NUM_GPUS = 8
# in pixels, of RandomZoomOut's border
BORDER = (123.0, 117.0, 104.0)


@dataclass(frozen=True)
class Schedule:
    """Options of the script that trains, with its defaults.

    Attributes:
        lr, weight_decay: Of SGD with momentum 0.9.
        epochs: How many there are.
        lr_steps: Epochs after which the learning rate falls to a tenth; None for a cosine.
        batch_size: Pictures on each of eight GPUs.
        augmentation: ``'hflip'``, ``'ssd'`` or ``'ssdlite'``.
        min_keypoints: Pictures with fewer labeled keypoints are left out.
    """

    lr: float = 0.02
    weight_decay: float = 1e-4
    epochs: int = 26
    lr_steps: tuple[int, ...] | None = (16, 22)
    batch_size: int = 2
    augmentation: str = 'hflip'
    min_keypoints: int = 0


# as its documentation lists them; those that are not here have the defaults
SCHEDULES = {
    'retinanet_resnet50_fpn': Schedule(lr=0.01),
    'retinanet_resnet50_fpn_v2': Schedule(lr=0.01),
    'fcos_resnet50_fpn': Schedule(lr=0.01),
    'keypointrcnn_resnet50_fpn': Schedule(epochs=46, lr_steps=(36, 43), min_keypoints=10),
    'ssd300_vgg16': Schedule(
        lr=0.002, weight_decay=5e-4, epochs=120, lr_steps=(80, 110), batch_size=4, augmentation='ssd'
    ),
    'ssdlite320_mobilenet_v3_large': Schedule(
        lr=0.15, weight_decay=4e-5, epochs=660, lr_steps=None, batch_size=24, augmentation='ssdlite'
    ),
}


def running(name: str, predicts: set[str], classes: dict, resize: list[dict]) -> dict:
    """Data, schedule and evaluation of a function's model: all of a config but ``model``.

    Args:
        name: Of the function.
        predicts: What the model predicts beside boxes: ``'mask'``, ``'keypoint'``.
        classes: ``metainfo`` of the datasets; empty for COCO's own.
        resize: The transforms that bring pictures to size, none where the model does.
    """
    schedule = SCHEDULES.get(name, Schedule())
    dataset = dict(type='CocoDataset', data_root=DATA_ROOT, **(dict(metainfo=classes) if classes else {}))
    loading = dict(type='LoadAnnotations', with_bbox=True, **{f'with_{part}': True for part in _loaded(predicts)})
    testing = _test_dataloader(dataset, predicts, loading, resize)
    evaluator = dict(type='CocoMetric', ann_file=DATA_ROOT + _file('val', predicts), metric=_metrics(predicts))
    return dict(
        train_dataloader=_train_dataloader(dataset, predicts, loading, resize, schedule),
        val_dataloader=testing,
        test_dataloader=testing,
        val_evaluator=evaluator,
        test_evaluator=evaluator,
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=schedule.epochs, val_interval=1),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        optim_wrapper=dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=schedule.lr, momentum=0.9, weight_decay=schedule.weight_decay),
        ),
        param_scheduler=_learning_rates(schedule),
        auto_scale_lr=dict(enable=False, base_batch_size=NUM_GPUS * schedule.batch_size),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1), sampler_seed=dict(type='DistSamplerSeedHook')
        ),
    )


def _learning_rates(schedule: Schedule) -> list[dict]:
    # the first epoch, or its first thousand batches
    warmup = dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000)
    if schedule.lr_steps is None:
        return [warmup, dict(type='CosineAnnealingLR', T_max=schedule.epochs, by_epoch=True)]
    return [warmup, dict(type='MultiStepLR', milestones=list(schedule.lr_steps), gamma=0.1, by_epoch=True)]


def _train_dataloader(dataset: dict, predicts: set[str], loading: dict, resize: list[dict], schedule: Schedule) -> dict:
    chosen = dict(filter_empty_gt=True)
    if schedule.min_keypoints:
        chosen['min_keypoints'] = schedule.min_keypoints
    pipeline = [dict(type='LoadImageFromFile'), loading, *_augmentation(schedule.augmentation), *resize]
    return dict(
        batch_size=schedule.batch_size,
        num_workers=4,
        persistent_workers=True,
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_sampler=dict(type='AspectRatioBatchSampler'),
        dataset=dict(
            dataset,
            ann_file=_file('train', predicts),
            data_prefix=dict(img='train2017/'),
            filter_cfg=chosen,
            pipeline=[*pipeline, dict(type='PackDetInputs')],
        ),
    )


def _test_dataloader(dataset: dict, predicts: set[str], loading: dict, resize: list[dict]) -> dict:
    pipeline = [
        dict(type='LoadImageFromFile'),
        *resize,
        loading,
        dict(type='PackDetInputs', meta_keys=META_KEYS),
    ]
    return dict(
        batch_size=1,
        num_workers=4,
        persistent_workers=True,
        drop_last=False,
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(
            dataset,
            ann_file=_file('val', predicts),
            data_prefix=dict(img='val2017/'),
            test_mode=True,
            pipeline=pipeline,
        ),
    )


def _augmentation(name: str) -> list[dict]:
    crop = dict(type='MinIoURandomCrop', min_ious=(0.1, 0.3, 0.5, 0.7, 0.9), min_crop_size=0.3)
    flip = dict(type='RandomFlip', prob=0.5)
    border = dict(type='Expand', mean=BORDER, to_rgb=True, ratio_range=(1, 4))
    steps = {
        'hflip': [flip],
        'ssd': [dict(type='PhotoMetricDistortion'), border, crop, flip],
        'ssdlite': [crop, flip],
    }
    return steps[name]


def _file(part: str, predicts: set[str]) -> str:
    kind = 'person_keypoints' if 'keypoint' in predicts else 'instances'
    return f'annotations/{kind}_{part}2017.json'


def _loaded(predicts: set[str]) -> list[str]:
    return ['mask'] * ('mask' in predicts) + ['keypoints'] * ('keypoint' in predicts)


def _metrics(predicts: set[str]) -> list[str]:
    return ['bbox'] + ['segm'] * ('mask' in predicts) + ['keypoints'] * ('keypoint' in predicts)
