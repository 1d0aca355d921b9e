"""tools/train.py and tools/test.py, as the command line calls them."""

import json
import pickle
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdetlike.cli import test as test_tool
from mmdetlike.cli import train as train_tool
from mmdetlike.datasets.errors import ImageError
from mmdetlike.errors import ConfigError
from mmdetlike.evaluation import CocoMetric
from mmdetlike.utils.checkpoint import CheckpointError, read_checkpoint
from mmdetlike.utils.outputs import OutputError
from tests.utils import ROOT, python, tiny_config


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Namespace:
    """An epoch of training by the tool: its folder, config, checkpoint and last scores."""
    folder = tmp_path_factory.mktemp('tool')
    cfg = tiny_config(folder / 'run', train_cfg=dict(max_epochs=1))
    cfg.work_dir = None
    cfg.experiment_name = 'tool'
    cfg.dump(folder / 'tiny.py')
    train_tool.main([str(folder / 'tiny.py'), '--work-dir', str(folder / 'run')])
    return Namespace(
        folder=folder,
        config=str(folder / 'tiny.py'),
        checkpoint=str(folder / 'run' / 'epoch_1.pth'),
        scores=scores(next((folder / 'run').glob('*/vis_data/scalars.json'))),
    )


def scores(path: Path) -> dict[str, float]:
    lines = [json.loads(line) for line in path.read_text().splitlines() if 'coco/bbox_mAP' in line]
    return {name: value for name, value in lines[-1].items() if name.startswith('coco/')}


def run_test(trained, work_dir, *arguments) -> Path:
    """Call tools/test.py; the folder of that call."""
    name = f'experiment_name={Path(work_dir).name}'
    test_tool.main([trained.config, trained.checkpoint, '--work-dir', str(work_dir), *arguments, '--cfg-options', name])
    return next(path for path in Path(work_dir).iterdir() if path.is_dir() and path.name[:2] == '20')


def coco_config(trained, folder: Path, names: list[str]) -> Config:
    """The config with a COCO dataset of grey pictures, written to ``folder``, to be tested on."""
    for name in names:
        (folder / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / 'images' / name), np.full((64, 64, 3), 90, np.uint8))
    classes = ('circle', 'triangle', 'square', 'star', 'cross')
    images = [dict(id=i, file_name=name, width=64, height=64) for i, name in enumerate(names)]
    annotation = dict(id=1, image_id=1, category_id=0, bbox=[8, 8, 32, 32], area=1024, iscrowd=0)
    categories = [dict(id=i, name=name) for i, name in enumerate(classes)]
    ann_file = folder / 'a.json'
    ann_file.write_text(json.dumps(dict(images=images, annotations=[annotation], categories=categories)))
    cfg = Config.fromfile(trained.config)
    cfg.test_dataloader.dataset = dict(
        type='CocoDataset',
        ann_file=str(ann_file),
        data_prefix=dict(img=str(folder / 'images')),
        metainfo=dict(classes=classes),
        test_mode=True,
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackDetInputs')],
    )
    cfg.test_evaluator = dict(type='CocoMetric', ann_file=str(ann_file))
    return cfg


def test_scores_are_those_at_the_end_of_training(trained, tmp_path):
    folder = run_test(trained, tmp_path / 'again')
    written = json.loads(next(folder.glob('*.json')).read_text())
    assert trained.scores['coco/bbox_mAP'] > 0
    assert {name: written[name] for name in trained.scores} == trained.scores
    assert cv2.imread(str(folder / 'predictions.png')).shape[0] > 100


def test_an_optimized_model_has_the_same_scores(trained, tmp_path):
    folder = run_test(trained, tmp_path / 'fast', '--optimize', 'fp32')
    written = json.loads(next(folder.glob('*.json')).read_text())
    assert {name: written[name] for name in trained.scores} == pytest.approx(trained.scores, abs=2e-3)


def test_fp16_on_a_cpu_is_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match="optimize='fp16' needs a GPU"):
        run_test(trained, tmp_path / 'fp16', '--optimize', 'fp16')


def test_out_holds_the_predictions(trained, tmp_path):
    run_test(trained, tmp_path / 'out', '--out', str(tmp_path / 'predictions.pkl'))
    results = pickle.loads((tmp_path / 'predictions.pkl').read_bytes())
    assert [result['img_id'] for result in results] == list(range(8))
    prediction = results[0]['pred_instances']
    assert prediction['bboxes'].shape == (len(prediction['scores']), 4)
    assert (prediction['scores'].diff() <= 0).all()
    assert ((prediction['labels'] >= 0) & (prediction['labels'] < 5)).all()


def test_out_is_written_whatever_becomes_of_the_scores(trained, tmp_path, monkeypatch):
    for i, method in enumerate(('process', 'compute_metrics')):

        def fail(self, *args):
            raise KeyError('annotations')

        out = tmp_path / f'{method}.pkl'
        with monkeypatch.context() as patch:
            patch.setattr(CocoMetric, method, fail)
            with pytest.raises(KeyError, match='annotations'):
                run_test(trained, tmp_path / f'work_{i}', '--out', str(out))
        assert [result['img_id'] for result in pickle.loads(out.read_bytes())] == list(range(8))


@pytest.mark.parametrize('workers', [0, 1])
def test_a_damaged_picture_ends_a_test_with_a_sentence_and_keeps_what_was_predicted(trained, tmp_path, workers):
    cfg = coco_config(trained, tmp_path, [f'{i}.png' for i in range(5)])
    content = (tmp_path / 'images/3.png').read_bytes()
    (tmp_path / 'images/3.png').write_bytes(content[: len(content) // 2])
    cfg.test_dataloader.update(num_workers=workers, persistent_workers=False, batch_size=2)
    cfg.dump(tmp_path / 'config.py')
    trained = Namespace(config=str(tmp_path / 'config.py'), checkpoint=trained.checkpoint)
    with pytest.raises(ImageError, match=r'^\S*images/3\.png: the file is truncated after \d+ bytes$'):
        run_test(trained, tmp_path / f'damaged_{workers}', '--out', str(tmp_path / 'r.pkl'))
    assert not (tmp_path / 'r.pkl').exists()
    assert [result['img_id'] for result in pickle.loads((tmp_path / 'r.partial.pkl').read_bytes())] == [0, 1]


def test_format_only_writes_coco_json_and_no_scores(trained, tmp_path):
    folder = run_test(trained, tmp_path / 'format', '--format-only')
    boxes = json.loads((tmp_path / 'format' / 'predictions.bbox.json').read_text())
    assert {box['image_id'] for box in boxes} <= set(range(8))
    assert all(len(box['bbox']) == 4 and 0 <= box['score'] <= 1 for box in boxes)
    assert not any('coco/bbox_mAP' in path.read_text() for path in folder.glob('*.json'))


def test_show_dir_writes_a_picture_of_each_image(trained, tmp_path):
    folder = run_test(trained, tmp_path / 'show', '--show-dir', 'pictures')
    pictures = sorted((folder / 'pictures').glob('*.png'))
    assert len(pictures) == 8
    assert cv2.imread(str(pictures[0])).shape[0] >= 64


def test_show_dir_gives_each_picture_a_file_and_spares_the_inputs(trained, tmp_path):
    cfg = coco_config(trained, tmp_path, ['cam1/0001.png', 'cam2/0001.png', '0001.png', '0001.bmp'])
    cfg.dump(tmp_path / 'config.py')
    trained = Namespace(config=str(tmp_path / 'config.py'), checkpoint=trained.checkpoint)
    folder = run_test(trained, tmp_path / 'mirror', '--show-dir', 'v') / 'v'
    written = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.png'))
    assert written == ['0001.bmp.png', '0001.png', 'cam1/0001.png', 'cam2/0001.png']
    with pytest.raises(OutputError, match=r'images/cam1/0001\.png is one of the inputs'):
        run_test(trained, tmp_path / 'over', '--show-dir', str(tmp_path / 'images'))


def test_missing_and_foreign_checkpoints(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth does not exist'):
        test_tool.main([trained.config, str(tmp_path / 'nothing.pth'), '--work-dir', str(tmp_path)])
    part = read_checkpoint(trained.checkpoint)['state_dict']
    del part['backbone.conv1.weight']
    torch.save(part, tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match=r'1 keys missing \(backbone.conv1.weight\)'):
        test_tool.main([trained.config, str(tmp_path / 'part.pth'), '--work-dir', str(tmp_path)])


class Intruder:
    """Something that a checkpoint may not hold."""


def test_trust_checkpoint(trained, tmp_path):
    weights = read_checkpoint(trained.checkpoint)['state_dict']
    torch.save(dict(extra=Intruder(), state_dict=weights), tmp_path / 'strange.pth')
    arguments = [trained.config, str(tmp_path / 'strange.pth'), '--work-dir', str(tmp_path / 'work')]
    with pytest.raises(CheckpointError, match=r'Intruder.*--trust-checkpoint'):
        test_tool.main(arguments)
    test_tool.main([*arguments, '--trust-checkpoint', '--cfg-options', 'experiment_name=trusting'])
    with pytest.raises(CheckpointError, match=r'Intruder'):  # trust ends with the call
        test_tool.main(arguments)


@pytest.mark.parametrize(
    'arguments, error, message',
    [
        (['--out', 'a.json'], ConfigError, '--out must be a .pkl file, got a.json'),
        (
            ['--out', '/proc/r.pkl'],
            OutputError,
            '/proc cannot be a folder for outputs: nothing can be written to /proc',
        ),
        (['--out', '/dev/null/r.pkl'], OutputError, '/dev/null cannot be a folder for outputs: /dev/null is a file'),
        (
            ['--cfg-options', 'model.test_cfg.rcnn.score_thr="a"'],
            ConfigError,
            'score_thr must be a number, got the str',
        ),
        (['--cfg-options', 'model.backbone.type=ResNt'], ConfigError, "tiny.py: model.backbone: type='ResNt'"),
    ],
)
def test_mistakes_in_testing(arguments, error, message, trained, tmp_path):
    with pytest.raises(error, match=message):
        test_tool.main([trained.config, trained.checkpoint, '--work-dir', str(tmp_path), *arguments])


@pytest.mark.parametrize('arguments', [['--overlap', '0.3'], ['--merge', 'wbf']])
def test_settings_of_tiles_need_tiles(arguments, capsys):
    with pytest.raises(SystemExit):
        test_tool.parse_args(['config.py', 'checkpoint.pth', *arguments])
    assert '--overlap and --merge are for --tile' in capsys.readouterr().err


def resolved(config: str, *arguments: str) -> Config:
    return train_tool.resolve(train_tool.parse_args([config, *arguments]))


def test_options_of_training(trained):
    cfg = resolved(trained.config)
    assert cfg.work_dir == 'work_dirs/tiny'
    assert (cfg.optim_wrapper.type, cfg.get('resume'), cfg.launcher) == ('OptimWrapper', False, 'none')
    assert resolved(trained.config, '--no-report').custom_hooks[-1] == dict(type='ReportHook', html=False)
    assert resolved(trained.config, '--amp').optim_wrapper.type == 'AmpOptimWrapper'
    assert resolved(trained.config, '--amp', '--amp-dtype', 'bfloat16').optim_wrapper.dtype == 'bfloat16'
    cfg = resolved(trained.config, '--resume')
    assert (cfg.resume, cfg.load_from) == (True, None)
    cfg = resolved(trained.config, '--resume', 'a.pth')
    assert (cfg.resume, cfg.load_from) == (True, 'a.pth')
    cfg = resolved(trained.config, '--auto-scale-lr', '--cfg-options', 'auto_scale_lr.base_batch_size=16')
    assert cfg.auto_scale_lr == dict(base_batch_size=16, enable=True)
    with pytest.raises(ConfigError, match=r'needs auto_scale_lr=dict\(base_batch_size=...\)'):
        resolved(trained.config, '--auto-scale-lr')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['{config}', '--cfg-options', 'model.backbone.type=ResNt'], "tiny.py: model.backbone: type='ResNt' is not"),
    ],
)
def test_a_mistake_ends_the_tool_with_one_sentence(arguments, message, trained, tmp_path):
    arguments = [argument.format(config=trained.config) for argument in arguments]
    done = python(ROOT / 'tools' / 'train.py', *arguments, '--work-dir', tmp_path)
    assert done.returncode == 2
    assert message in done.stderr.strip().splitlines()[-1]
    assert 'Traceback' not in done.stderr


def test_augmentation_without_settings_mirrors(trained, tmp_path):
    folder = run_test(trained, tmp_path / 'tta', '--tta')
    written = json.loads(next(folder.glob('*.json')).read_text())
    # tests/models/test_time_augs has what is found where; after one epoch the detector finds next to nothing
    assert written['coco/bbox_mAP'] > 0
    assert written['coco/bbox_mAP'] != trained.scores['coco/bbox_mAP']
    assert cv2.imread(str(folder / 'predictions.png')).shape[0] > 100


def test_one_plain_version_has_the_scores_of_the_test(trained, tmp_path):
    cfg = Config.fromfile(trained.config)
    steps = [dict(step) for step in cfg.test_dataloader.dataset.pipeline]
    cfg.tta_pipeline = [*steps[:-1], dict(type='TestTimeAug', transforms=[steps[-1:]])]
    cfg.tta_model = dict(type='DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.99)))
    cfg.dump(tmp_path / 'tta.py')
    plain = Namespace(config=str(tmp_path / 'tta.py'), checkpoint=trained.checkpoint)
    written = json.loads(next(run_test(plain, tmp_path / 'plain', '--tta').glob('*.json')).read_text())
    for name, value in trained.scores.items():
        assert written[name] == pytest.approx(value, abs=1e-6), name
