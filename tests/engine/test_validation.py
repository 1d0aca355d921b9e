"""Losses of the validation set."""

import pytest
import torch

from mmdetlike.engine import Runner
from mmdetlike.errors import ConfigError
from tests.utils import sample_everything, tiny_config, train


def config(work_dir, with_loss=True, first='LoadAnnotations', **overrides):
    cfg = tiny_config(work_dir, **overrides)
    steps = cfg.val_dataloader.dataset.pipeline
    kinds = [step['type'] for step in steps]
    load = steps.pop(kinds.index('LoadAnnotations')) if 'LoadAnnotations' in kinds else dict(type='LoadAnnotations')
    load['with_bbox'] = True
    resize = dict(type='Resize', scale=(64, 64))
    between = [load, resize] if first == 'LoadAnnotations' else [resize, load]
    cfg.val_dataloader.dataset.pipeline = [steps[0], *between, steps[-1]]
    cfg.val_cfg = dict(with_loss=with_loss)
    return cfg


def test_losses_are_those_of_the_model_and_scores_stay(tmp_path):
    cfg = config(tmp_path)
    runner = Runner.from_cfg(sample_everything(cfg))
    metrics = runner.val()
    names = [name for name in metrics if name.startswith('val/')]
    assert {'val/loss', 'val/loss_cls', 'val/loss_bbox', 'val/loss_rpn_cls'} <= set(names)
    assert metrics['coco/bbox_mAP'] >= 0
    model = runner.model.eval()
    totals = []
    with torch.no_grad():
        for batch in runner.val_dataloader:
            data = model.data_preprocessor(batch, False)
            totals.append(float(model.parse_losses(model(**data, mode='loss'))[0]))
    assert metrics['val/loss'] == pytest.approx(sum(totals) / len(totals), rel=1e-5)
    assert metrics['val/loss'] > 0


def test_training_is_the_same_with_and_without(tmp_path):
    _, plain = train(config(tmp_path / 'a', with_loss=False))
    _, watched = train(config(tmp_path / 'b'))
    assert watched == plain
    assert len(plain) == 8


def test_the_best_checkpoint_can_be_chosen_by_the_loss(tmp_path):
    hooks = dict(checkpoint=dict(save_best='val/loss', rule='less'))
    train(config(tmp_path, default_hooks=hooks))
    assert list(tmp_path.glob('best_val*loss*.pth'))


def test_annotations_have_to_be_loaded_before_the_picture_is_moved(tmp_path):
    with pytest.raises(
        ConfigError, match='with_loss=True, but the pipeline of val_dataloader has LoadAnnotations after R'
    ):
        Runner.from_cfg(config(tmp_path, first='Resize')).val()
    cfg = config(tmp_path)
    cfg.val_dataloader.dataset.pipeline = [
        s for s in cfg.val_dataloader.dataset.pipeline if s['type'] != 'LoadAnnotations'
    ]
    with pytest.raises(ConfigError, match='val_dataloader has no LoadAnnotations'):
        Runner.from_cfg(cfg).val()
    with pytest.raises(ConfigError, match="with_loss must be True or False, got the text 'yes'"):
        Runner.from_cfg(config(tmp_path, with_loss='yes')).val()
