"""Every quickstart config goes through the tools as a user would run it, cut short."""

import json
from pathlib import Path

import pytest

from mmdetlike.cli import test as test_tool
from mmdetlike.engine import launch
from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint import read_checkpoint
from mmdetlike.utils.config import load_config

FOLDER = Path(__file__).parents[2] / 'configs' / 'quickstart'
CONFIGS = sorted(path.stem for path in FOLDER.glob('*_shapes.py'))
# things differ from all classes in number, segments without objects, mosaics, semantic maps; the others with -m slow
QUICK = {'panoptic-fpn_r18_fpn_shapes', 'maskformer_r18_shapes', 'yolox_tiny_shapes', 'htc_r18_fpn_shapes'}


def shorten(dataset: dict, length: int) -> None:
    """Cut a dataset, which others may wrap, to so many pictures."""
    for inner in dataset.get('datasets', [dataset['dataset']] if 'dataset' in dataset else []):
        shorten(inner, length)
    if 'length' in dataset:
        dataset['length'] = length


def shortened(name: str, work_dir: Path):
    """The config: two iterations, one epoch where there are epochs, then an evaluation."""
    cfg = load_config(FOLDER / f'{name}.py')
    cfg.work_dir = str(work_dir)
    shorten(cfg.train_dataloader.dataset, 4)
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        shorten(loader.dataset, 2)
    cfg.train_dataloader.batch_size = cfg.val_dataloader.batch_size = cfg.test_dataloader.batch_size = 2
    if 'source_ratio' in cfg.train_dataloader.sampler:
        cfg.train_dataloader.sampler.batch_size = 2
    if cfg.train_cfg.type == 'IterBasedTrainLoop':
        cfg.train_cfg.update(max_iters=2, val_interval=2)
        cfg.default_hooks.checkpoint.interval = 2
    else:
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.param_scheduler = None
    return cfg


def scores(folder: Path) -> dict[str, float]:
    """The last scores that a training in ``folder`` wrote, by name."""
    (path,) = folder.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    metrics = [line for line in lines if 'loss' not in line]
    # of a teacher and its student the teacher is what is tested
    found = {name.removeprefix('teacher/'): value for name, value in metrics[-1].items() if '/' in name}
    return {name: value for name, value in found.items() if not name.startswith('student/')}


@pytest.mark.parametrize(
    'name', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS]
)
def test_trains_and_is_evaluated(name, tmp_path):
    cfg = shortened(name, tmp_path)
    launch(cfg, 'train')
    (path,) = [path for path in tmp_path.glob('*.pth') if path.stem in ('epoch_1', 'iter_2')]
    checkpoint = read_checkpoint(path)
    assert checkpoint['meta']['iter'] == 2
    assert (tmp_path / 'predictions.png').stat().st_size > 10_000
    trained = scores(tmp_path)
    cfg.dump(tmp_path / 'config.py')
    test_tool.main([str(tmp_path / 'config.py'), str(path), '--work-dir', str(tmp_path / 'test')])
    tested = json.loads(next((tmp_path / 'test').glob('*/*.json')).read_text())
    assert trained and set(trained) <= set(tested)
    assert all(tested[name] == pytest.approx(trained[name], abs=1e-6) for name in trained)


def test_things_alone_do_not_fit_a_dataset_of_more(tmp_path):
    cfg = shortened('panoptic-fpn_r18_fpn_shapes', tmp_path)
    cfg.model.roi_head.mask_head.num_classes = 4
    with pytest.raises(ConfigError, match=r'roi_head\.mask_head .* predicts num_classes=4, but ShapesDataset has 7'):
        launch(cfg, 'train')
