"""Detectors that look at several versions of each picture, from Python."""

import pytest

from mmdetlike.apis import inference_detector, init_detector, with_tta
from mmdetlike.errors import ConfigError
from tests.apis.helpers import picture, tiny_detector


def test_pictures_are_looked_at_as_they_are_and_mirrored(detector):
    model = with_tta(detector)
    plain = inference_detector(detector, picture())
    both = inference_detector(model, [picture(), picture(1)], batch_size=2)
    assert len(both) == 2 and both[0].pred_instances.bboxes.shape[1] == 4
    # the best object of the plain version is found, or one that is better and at its place
    assert both[0].pred_instances.scores.max() >= plain.pred_instances.scores.max() - 1e-5
    assert both[0].ori_shape == picture().shape[:2] and not both[0].flip
    assert not hasattr(detector.cfg, 'tta_model') and detector.cfg.model.type != 'DetTTAModel'


def test_the_choice_is_an_argument_of_init_detector(detector):
    few = init_detector(detector.cfg, tta=dict(max_per_img=1, nms=dict(type='nms', iou_threshold=0.6)))
    assert few.max_per_img == 1
    assert len(inference_detector(few, picture()).pred_instances) <= 1
    assert few.dataset_meta['classes'] == detector.dataset_meta['classes']
    with pytest.raises(ConfigError, match='got also number'):
        init_detector(detector.cfg, tta=dict(number=1))


def test_a_pipeline_that_ends_otherwise_is_told():
    model = tiny_detector()
    del model.cfg.test_dataloader.dataset.pipeline[-1]
    with pytest.raises(ConfigError, match='ends with PackDetInputs'):
        with_tta(model)
