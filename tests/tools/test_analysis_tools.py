import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from mmdetlike.cli import browsing
from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS
from tests.datasets.test_video_dataset import CLASSES, write_videos
from tests.datasets.test_video_dataset import pipeline as clip_pipeline

TOOLS = Path(__file__).parents[2] / 'tools'


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, TOOLS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PIPELINE = """[
    dict(type='LoadShapesImage'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(320, 320), keep_ratio=True),
    dict(type='PackDetInputs'),
]"""
CONFIG = f"""
default_scope = 'mmdet'
pipeline = {PIPELINE}
shapes = dict(type='ShapesDataset', length=4, image_size=(128, 160), pipeline=pipeline)
train_dataloader = dict(dataset=dict(type='RepeatDataset', times=2, dataset=shapes))
val_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[shapes, shapes]))
visualizer = dict(type='DetLocalVisualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend')])
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'shapes.py'
    path.write_text(CONFIG)
    return str(path)


def test_print_config(config, tmp_path, capsys):
    main = load('misc/print_config.py').main
    main([config, '--cfg-options', 'shapes.length=9', '--save-path', str(tmp_path / 'new' / 'full.py')])
    out = capsys.readouterr().out
    assert 'length=9' in out and 'full.py' in out.splitlines()[-1]
    assert Config.fromfile(tmp_path / 'new' / 'full.py').shapes.length == 9
    with pytest.raises(SystemExit):
        main([config, '--save-path', 'a.txt'])


def test_print_config_tells_what_a_type_takes(capsys):
    main = load('misc/print_config.py').main
    main(['--type', 'ATSSHead'])
    out = capsys.readouterr().out
    assert out.startswith('ATSSHead(\n    num_classes: int,\n')
    assert 'pred_kernel_size: int = 3,' in out and 'init_cfg: Weight initialization' in out
    with pytest.raises(ConfigError, match="no type is called 'ATSHead'; did you mean ATSSHead"):
        main(['--type', 'ATSHead'])
    with pytest.raises(SystemExit):
        main([])


@pytest.mark.parametrize(
    'mode, size', [('original', (160, 128)), ('transformed', (320, 256)), ('concat', None), ('pipeline', None)]
)
def test_browse_dataset(config, tmp_path, capsys, mode, size):
    main = load('analysis_tools/browse_dataset.py').main
    out = tmp_path / mode
    main([config, '--not-show', '--number', '5', '--mode', mode, '--output-dir', str(out)])
    assert capsys.readouterr().out.splitlines()[-1] == f'5 pictures written to {out}'
    files = sorted(out.glob('*.jpg'))
    assert [file.name[:6] for file in files] == [f'{i:06d}' for i in range(5)]
    if size is not None:
        assert Image.open(files[0]).size == size
    first, fifth = (np.array(Image.open(file)).astype(int) for file in (files[0], files[4]))
    assert abs(first - fifth).mean() < 1, 'sample 4 of the repeated dataset is sample 0'


def test_browse_dataset_draws_rgb_with_boxes(config, tmp_path):
    tool = load('analysis_tools/browse_dataset.py')
    tool.main([config, '--not-show', '--number', '1', '--mode', 'original', '--output-dir', str(tmp_path / 'a')])
    init_default_scope('mmdetlike')
    dataset = DATASETS.build(Config.fromfile(config).shapes)
    info = dataset.get_data_info(0)
    plain = dataset.pipeline.transforms[0](dict(info))['img'][..., ::-1].astype(int)
    drawn = np.array(Image.open(next((tmp_path / 'a').glob('*.jpg')))).astype(int)
    changed = abs(plain - drawn).max(-1) > 40
    assert 0.001 < changed.mean() < 0.6
    x1, y1, _, y2 = (round(v) for v in info['instances'][0]['bbox'])
    assert changed[y1:y2, x1 : x1 + 2].mean() > 0.5, 'the left edge of the first box is drawn'


def test_browse_dataset_of_folders_and_of_a_damaged_picture(tmp_path, capsys):
    names = ['cam1/1.png', 'cam2/1.png', '1.bmp', '1.png', 'cut.png']
    for name in names:
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (32, 32)).save(tmp_path / 'images' / name)
    (tmp_path / 'images/cut.png').write_bytes(b'')
    images = [dict(id=i, file_name=name, width=32, height=32) for i, name in enumerate(names)]
    coco = dict(images=images, annotations=[], categories=[dict(id=1, name='cat')])
    (tmp_path / 'a.json').write_text(json.dumps(coco))
    dataset = dict(
        type='CocoDataset',
        ann_file=str(tmp_path / 'a.json'),
        data_prefix=dict(img=str(tmp_path / 'images')),
        metainfo=dict(classes=('cat',)),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackDetInputs')],
    )
    config = Config(dict(default_scope='mmdetlike', train_dataloader=dict(dataset=dataset)))
    config.dump(tmp_path / 'config.py')
    out = tmp_path / 'images'
    main = load('analysis_tools/browse_dataset.py').main
    main([str(tmp_path / 'config.py'), '--not-show', '--mode', 'original', '--output-dir', str(out)])
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob('*.jpg'))
    assert written == ['000002_1.bmp.jpg', '000003_1.png.jpg', 'cam1/000000_1.jpg', 'cam2/000001_1.jpg']
    assert all((out / name).is_file() for name in names)
    printed = capsys.readouterr().out
    assert f'{out}/cut.png: the file is empty\n1 pictures could not be read\n4 pictures written to {out}' in printed


@pytest.mark.parametrize('mode, tiles', [('original', 3), ('transformed', 3), ('pipeline', 6)])
def test_browse_dataset_of_clips(tmp_path, capsys, monkeypatch, mode, tiles):
    write_videos(tmp_path, lengths=(3, 3))
    dataset = dict(
        type='BaseVideoDataset',
        ann_file='videos.json',
        data_root=str(tmp_path),
        metainfo=dict(classes=CLASSES),
        pipeline=clip_pipeline(),
    )
    Config(dict(default_scope='mmdetlike', train_dataloader=dict(dataset=dataset))).dump(tmp_path / 'config.py')
    out = tmp_path / 'out'
    captions = []
    sheet = browsing.contact_sheet

    def noting(pictures, columns, size, names, *rest):
        captions.append(names)
        return sheet(pictures, columns, size, names, *rest)

    monkeypatch.setattr(browsing, 'contact_sheet', noting)
    load('analysis_tools/browse_dataset.py').main(
        [str(tmp_path / 'config.py'), '--not-show', '--mode', mode, '--output-dir', str(out)]
    )
    assert capsys.readouterr().out.splitlines()[-1] == f'2 pictures written to {out}'
    assert len(list(out.glob('*.jpg'))) == 2
    assert len(captions[0]) == tiles
    assert captions[0][-1].endswith('frame 2')


def test_browse_dataset_of_a_pipeline_that_loads_nothing(config):
    main = load('analysis_tools/browse_dataset.py').main
    # a transform whose name tells nothing
    pipeline = "pipeline=[dict(type='Resize', scale=(32, 32))]"
    text = Path(config).read_text().replace('pipeline=pipeline', pipeline)
    Path(config).write_text(text)
    with pytest.raises(ConfigError, match='no transform of the pipeline loads a picture; there are Resize'):
        main([config, '--not-show', '--mode', 'original'])


def test_browse_dataset_of_concatenation_and_of_a_missing_split(config, tmp_path, capsys):
    main = load('analysis_tools/browse_dataset.py').main
    main([config, '--not-show', '--split', 'val', '--mode', 'pipeline', '--cfg-options', f'work_dir={tmp_path / "w"}'])
    assert len(list((tmp_path / 'w' / 'browse_val').glob('*.jpg'))) == 8
    with pytest.raises(ConfigError, match='has no test_dataloader'):
        main([config, '--split', 'test'])
    with pytest.raises(ConfigError, match=r'shapes.py: .*Shapes_Dataset.*ShapesDataset'):
        main([config, '--cfg-options', 'train_dataloader.dataset.dataset.type=Shapes_Dataset'])


@pytest.fixture
def log(tmp_path):
    rows = []
    for epoch in (1, 2):
        for i in (1, 2, 3):
            time = 10.0 if i == 1 else 0.1 * epoch
            rows.append({'loss': 1 / i, 'lr': 0.1, 'time': time, 'epoch': epoch, 'step': 3 * epoch + i - 3})
        rows.append({'coco/bbox_mAP': 0.1 * epoch, 'time': 5.0, 'step': epoch})
    path = tmp_path / 'run' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(row) for row in rows))
    return str(path)


def test_cal_train_time(log, capsys):
    main = load('analysis_tools/analyze_logs.py').main
    main(['cal_train_time', log])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == 'slowest epoch 2, average time is 0.2000 s/iter'
    assert lines[2] == 'fastest epoch 1, average time is 0.1000 s/iter'
    assert lines[3] == 'time std over epochs is 0.0500' and lines[4] == 'average iter time: 0.1500 s/iter'
    main(['cal_train_time', log, '--include-outliers'])
    assert 'average iter time: 3.4333' in capsys.readouterr().out


def test_plot_curve(log, tmp_path, capsys):
    main = load('analysis_tools/analyze_logs.py').main
    main(['plot_curve', log])
    assert Path(log).with_name('curves.png').is_file()
    out = tmp_path / 'two.png'
    main(['plot_curve', log, '--keys', 'bbox_mAP', 'loss', '--legend', 'a', 'b', '--out', str(out), '--title', 't'])
    assert capsys.readouterr().out.splitlines()[-1] == f'written to {out}' and out.is_file()


@pytest.mark.parametrize(
    'extra, message',
    [
        (['--keys', 'nope'], "no 'nope'; it has coco/bbox_mAP"),
        (['--keys', 'loss', '--legend', 'a', 'b'], '2 names for 1'),
    ],
)
def test_plot_curve_refuses(log, extra, message):
    with pytest.raises(ValueError, match=message):
        load('analysis_tools/analyze_logs.py').main(['plot_curve', log, *extra])


def test_missing_log_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        load('analysis_tools/analyze_logs.py').main(['plot_curve', str(tmp_path / 'gone.json')])
    assert 'gone.json' in capsys.readouterr().err
