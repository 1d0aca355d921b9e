# The Open Images challenge of 2019
_base_ = './openimages_detection.py'

train_dataloader = dict(
    dataset=dict(
        type='OpenImagesChallengeDataset',
        label_file='challenge2019/cls-label-description.csv',
        hierarchy_file='challenge2019/class_label_tree.np',
        ann_file='challenge2019/challenge-2019-train-detection-bbox.txt',
        meta_file='challenge2019/challenge-2019-train-metas.pkl',
    ),
)
val_dataloader = dict(
    dataset=dict(
        type='OpenImagesChallengeDataset',
        label_file='challenge2019/cls-label-description.csv',
        hierarchy_file='challenge2019/class_label_tree.np',
        ann_file='challenge2019/challenge-2019-validation-detection-bbox.txt',
        data_prefix=dict(img='OpenImages/'),
        meta_file='challenge2019/challenge-2019-validation-metas.pkl',
        image_level_ann_file='challenge2019/challenge-2019-validation-detection-human-imagelabels.csv',
    ),
)
test_dataloader = val_dataloader
