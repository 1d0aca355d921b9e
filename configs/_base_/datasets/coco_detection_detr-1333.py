# Random crops out of pictures whose long side is at most 1333, as the first detectors with transformers are trained.
_base_ = './coco_detection_detr.py'

train_pipeline = _base_.train_pipeline
# the second choice resizes, crops and resizes again
train_pipeline[3]['transforms'][1][0]['scales'] = [(400, 1333), (500, 1333), (600, 1333)]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
