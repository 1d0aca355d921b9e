# COCO-Stuff's 171 classes of pixels: things and stuff. 255 in its label maps is for pixels without a class.
_base_ = './ade20k_semantic.py'

data_root = 'data/coco/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=False, with_seg=True),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    # after Resize, so that the truth has the size of the original as predictions do
    dict(type='LoadAnnotations', with_bbox=False, with_seg=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    dataset=dict(
        type='CocoStuffDataset',
        data_root=data_root,
        data_prefix=dict(img_path='train2017', seg_map_path='stuffthingmaps/train2017'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='CocoStuffDataset',
        data_root=data_root,
        data_prefix=dict(img_path='val2017', seg_map_path='stuffthingmaps/val2017'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
