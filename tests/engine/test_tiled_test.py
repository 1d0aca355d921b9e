"""Tests that look at pictures tile by tile."""

import pytest
import torch
from mmengine.config import Config

from mmdetlike.apis import DetInferencer
from mmdetlike.engine.tiled_test import TiledDetector, split_pipeline, tile_test
from mmdetlike.errors import ConfigError
from mmdetlike.structures import DetDataSample
from tests.apis.helpers import CONFIG, picture, tiny_detector

PACK = dict(type='PackDetInputs', meta_keys=('img_id', 'instances', 'ori_shape', 'scale_factor', 'img_shape'))
RESIZE = dict(type='Resize', scale=(96, 96), keep_ratio=True)


def test_datasets_give_pictures_and_the_model_resizes_tiles():
    cfg = Config.fromfile(CONFIG)
    loaders = [dict(type='LoadShapesImage'), dict(type='LoadAnnotations', with_bbox=True)]
    cfg.test_dataloader.dataset.pipeline = [loaders[0], RESIZE, loaders[1], PACK]
    kind = cfg.model.type
    tile_test(cfg, 64, 0.3, 'wbf')
    assert [step.type for step in cfg.test_dataloader.dataset.pipeline] == [
        'LoadShapesImage',
        'LoadAnnotations',
        'PackDetInputs',
    ]
    assert (cfg.model.type, cfg.model.module.type) == ('TiledDetector', kind)
    assert [step.type for step in cfg.model.pipeline] == ['Resize', 'PackDetInputs']
    assert (cfg.model.tile, cfg.model.overlap, cfg.model['merge']) == (64, 0.3, 'wbf')


def test_it_finds_what_the_inferencer_finds():
    detector = tiny_detector()
    image = picture(1, 150, 200)
    model = TiledDetector(detector, [dict(type='PackDetInputs')], tile=64, tiles_at_once=4).eval()
    sample = DetDataSample(metainfo=dict(img_id=7))
    (got,) = model.test_step(dict(inputs=[torch.from_numpy(image).permute(2, 0, 1)], data_samples=[sample]))
    inferencer = DetInferencer(detector, show_progress=False, tile=64)
    (expected,) = inferencer(image, batch_size=4, return_datasamples=True)['predictions']
    assert got.img_id == 7
    assert len(got.pred_instances) > 0
    for name in ('bboxes', 'scores', 'labels'):
        assert torch.equal(got.pred_instances[name], expected.pred_instances[name])


def test_a_pipeline_that_cannot_be_split_is_named():
    with pytest.raises(ConfigError, match=r'needs a test pipeline from a Load... to PackDetInputs, got Resize'):
        split_pipeline([dict(type='Resize')])


def test_checkpoints_of_the_detector_are_loaded():
    trained = tiny_detector()
    model = TiledDetector(tiny_detector(), [dict(type='PackDetInputs')], tile=64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0)
    model.load_state_dict(trained.state_dict())
    for name, value in trained.state_dict().items():
        assert torch.equal(model.module.state_dict()[name], value)
    model.load_state_dict(model.state_dict())
