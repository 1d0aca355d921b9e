"""tools/deploy.py: a detector becomes an artifact, which is called as any other and finds the same."""

import importlib.util
import json
import re

import numpy as np
import pytest

from mmdetlike.apis import Detector, DetInferencer
from mmdetlike.cli.deploy import parse_args, smallest_size
from mmdetlike.cli.predict import main as predict
from mmdetlike.errors import ConfigError
from mmdetlike.export import read_manifest
from tests.apis.helpers import picture, save_checkpoint, tiny_detector, write_pictures
from tests.utils import ROOT

RESIZED = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(192, 128), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('deploy', ROOT / 'tools/deploy.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def detector():
    return tiny_detector(**{'model.test_cfg.rcnn.score_thr': 0.3, 'test_dataloader.dataset.pipeline': RESIZED})


@pytest.fixture(scope='module')
def artifact(tool, detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp('deploy')
    detector.cfg.dump(str(folder / 'tiny.py'))
    checkpoint = save_checkpoint(detector, folder / 'tiny.pth')
    command = [folder / 'tiny.py', checkpoint, '--to', 'torch', '--size', 128, 192, '--out', folder / 'out']
    tool.main([*map(str, command), '--raw-input'])
    return folder / 'out'


def assert_equal(got: list[dict], expected: list[dict]) -> None:
    assert sum(len(entry['labels']) for entry in expected) > 0
    for entry, other in zip(got, expected, strict=True):
        assert set(entry) == set(other)
        assert entry['labels'] == other['labels']
        np.testing.assert_allclose(entry['scores'], other['scores'], atol=1e-4)
        np.testing.assert_allclose(entry['bboxes'], other['bboxes'], atol=1e-3)


def test_it_finds_what_the_detector_finds(artifact, detector, tmp_path):
    files = write_pictures(tmp_path / 'pictures', 3)
    deployed = Detector.load(artifact, show_progress=False)
    inferencer = DetInferencer(detector, show_progress=False)
    for inputs in (files, [picture(3)], str(tmp_path / 'pictures')):
        got = deployed(inputs, batch_size=2, return_vis=True)
        expected = inferencer(inputs, return_vis=True)
        assert_equal(got['predictions'], expected['predictions'])
        assert [image.shape for image in got['visualization']] == [(64, 96, 3)] * len(expected['visualization'])
    assert deployed.model.dataset_meta['classes'] == detector.dataset_meta['classes']


def test_a_program_of_a_batch_finds_the_same(tool, artifact, tmp_path):
    command = [artifact.parent / 'tiny.py', artifact.parent / 'tiny.pth', '--to', 'torch', '--size', 128, 192]
    tool.main([*map(str, command), '--raw-input', '--batch', '2', '--out', str(tmp_path / 'out')])
    assert read_manifest(tmp_path / 'out').batch_size == 2
    files = write_pictures(tmp_path / 'pictures', 3)
    expected = Detector.load(artifact, show_progress=False)(files)
    got = Detector.load(tmp_path / 'out', show_progress=False)(files, batch_size=3)
    assert_equal(got['predictions'], expected['predictions'])


def test_predict_takes_its_folder(artifact, tmp_path):
    files = write_pictures(tmp_path / 'in', 1)
    predict([str(files[0]), str(artifact), '--out-dir', str(tmp_path / 'out'), '--no-save-vis'])
    saved = json.loads((tmp_path / 'out/preds/0.json').read_text())
    expected = Detector.load(artifact, show_progress=False)(files)['predictions'][0]
    assert saved['labels'] == expected['labels']


def test_what_was_settled_when_it_was_made_is_refused(artifact, tmp_path):
    for option in (['--optimize', 'bf16'], ['--device', 'cuda']):
        with pytest.raises(ConfigError, match=f'its own {option[0][2:]}'):
            predict([str(tmp_path), str(artifact), *option])


def test_the_manifest_is_of_the_command_line(artifact, detector):
    manifest = read_manifest(artifact)
    assert (manifest.kind, manifest.size, manifest.raw_input, manifest.limit) == ('torch', [128, 192], True, 100)
    assert manifest.test_cfg['rcnn']['score_thr'] == 0.3
    assert [step['type'] for step in manifest.pipeline] == ['LoadImageFromFile', 'Resize', 'PackDetInputs']


def test_a_wrong_size_is_refused(tool, artifact, tmp_path):
    command = [artifact.parent / 'tiny.py', artifact.parent / 'tiny.pth', '--to', 'torch', '--size', 100, 64]
    with pytest.raises(ConfigError, match='the size 100 x 64'):
        tool.main([*map(str, command), '--out', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'options, message',
    [
        (['--dynamic', '64'], r'--dynamic takes two numbers, .* or none; got \[64\]'),
        (['--batch', '0'], '--batch must be positive, got 0'),
        (['--to', 'onnx', '--optimize', 'bf16'], '--optimize bf16 does not go with --to onnx'),
    ],
)
def test_wrong_options_are_refused(capsys, options, message):
    with pytest.raises(SystemExit):
        parse_args(['config.py', 'model.pth', '--to', 'torch', '--out', 'out', *options])
    assert re.search(message, capsys.readouterr().err)


def test_the_smallest_size_is_what_dynamic_says(detector):
    preprocessor = detector.data_preprocessor
    assert preprocessor.pad_size_divisor == 32
    assert smallest_size(None, preprocessor, (320, 320)) is None
    assert smallest_size([], preprocessor, (320, 320)) == (256, 256)
    assert smallest_size([64, 96], preprocessor, (320, 320)) == (64, 96)
    for sides, size in (([], (256, 256)), ([], (320, 224)), ([96, 64], (96, 64))):
        with pytest.raises(ConfigError, match=r'--dynamic: the largest size is .*; give a larger --size'):
            smallest_size(sides, preprocessor, size)


@pytest.mark.slow
def test_a_program_of_many_sizes_finds_exactly_what_the_detector_finds(tool, artifact, detector, tmp_path):
    """Pictures of several sizes, padded as the detector pads them."""
    command = [artifact.parent / 'tiny.py', artifact.parent / 'tiny.pth', '--to', 'torch', '--size', 192, 192]
    tool.main([*map(str, command), '--dynamic', '64', '64', '--out', str(tmp_path / 'out')])
    pictures = [picture(0), picture(1)[:, :64], picture(2)[:32]]
    got = Detector.load(tmp_path / 'out', show_progress=False)(pictures)
    assert_equal(got['predictions'], DetInferencer(detector, show_progress=False)(pictures)['predictions'])
