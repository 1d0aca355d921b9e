"""Values that fit no detector are refused while it is built, by a sentence with file and key path."""

import pytest

from mmdetlike.apis import init_detector
from mmdetlike.errors import ConfigError

RETINANET = 'configs/retinanet/retinanet_r18_fpn_1x_coco.py'
FASTER_RCNN = 'configs/faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
SWIN = 'configs/swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py'
DINO = 'configs/dino/dino-4scale_r50_8xb2-12e_coco.py'


@pytest.mark.parametrize(
    'config, path, value, sentence',
    [
        (RETINANET, 'model.backbone.depth', 51, "model.backbone: type='ResNet': depth must be one of"),
        (RETINANET, 'model.backbone.frozen_stages', 9, 'frozen_stages must be in -1 to 4, got 9'),
        (SWIN, 'model.backbone.frozen_stages', 5, 'frozen_stages must be in -1 to 4, got 5'),
        (RETINANET, 'model.bbox_head.num_classes', 0, "bbox_head: type='RetinaHead': num_classes must be at least 1"),
        (RETINANET, 'model.bbox_head.anchor_generator.ratios', [], 'ratios must be positive numbers, one at least'),
        (RETINANET, 'model.bbox_head.anchor_generator.octave_base_scale', -4, 'scales must be positive numbers'),
        (RETINANET, 'model.bbox_head.bbox_coder.target_stds', [1.0], 'target_stds needs 4 numbers, one a delta, got'),
        (RETINANET, 'model.bbox_head.bbox_coder.target_stds', [0.1, 0.1, 0.0, 0.1], 'target_stds must be above 0'),
        (FASTER_RCNN, 'model.roi_head.bbox_head.num_classes', -1, 'num_classes must be at least 1, got -1'),
        (DINO, 'model.positional_encoding.num_feats', 100, "model: type='DINO': positional_encoding.num_feats must be"),
    ],
)
def test_the_value_is_refused_with_file_and_key_path(config, path, value, sentence):
    with pytest.raises(ConfigError) as caught:
        init_detector(config, device='cpu', cfg_options={path: value})
    message = str(caught.value)
    assert message.startswith(f'{config}: model')
    assert sentence in message
    # where the dict of its own has a type, that dict is named
    assert path.rpartition('.')[0] in message or config == DINO


@pytest.mark.parametrize('settings, sentence', [((0, 0.5), 'num must be at least 1'), ((9, 3), r'must be in \[0, 1\]')])
def test_a_sampler_takes_some_priors_and_a_share_of_them(settings, sentence):
    from mmdetlike.models.task_modules import RandomSampler

    with pytest.raises(ValueError, match=sentence):
        RandomSampler(*settings)
