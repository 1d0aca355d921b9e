"""Artifacts: what is written, what it takes to run it, and what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from mmdetlike.apis import Detector
from mmdetlike.errors import CheckpointError, ConfigError
from mmdetlike.export import deploy, read_manifest
from mmdetlike.export.artifact import read_artifact
from mmdetlike.export.program import Sizes
from mmdetlike.models.optimize import optimize_model
from tests.export.helpers import (
    CLASSES,
    IMAGES,
    PIPELINE,
    assert_equal_results,
    assert_equal_results_of_batch,
    choosy,
    deployed,
    rows_found,
)
from tests.models.families import build
from tests.utils import python


@pytest.fixture(scope='module')
def artifact(tmp_path_factory):
    return deployed(tmp_path_factory.mktemp('export') / 'retinanet')


@pytest.fixture
def changed(artifact, tmp_path):
    """Copies an artifact and changes entries of its manifest."""

    def change(**entries):
        folder = tmp_path / 'changed'
        shutil.copytree(artifact, folder)
        manifest = json.loads((folder / 'manifest.json').read_text())
        manifest = {name: value for name, value in {**manifest, **entries}.items() if value is not None}
        (folder / 'manifest.json').write_text(json.dumps(manifest))
        return folder

    return change


def test_the_program_finds_what_the_model_finds(artifact):
    program = torch.export.load(artifact / 'program.pt2').module()
    counts = assert_equal_results(program, choosy('retinanet'))
    assert min(counts) < max(counts) < 20


def test_rows_from_count_on_are_zeros(artifact):
    outputs = torch.export.load(artifact / 'program.pt2').module()(IMAGES[1])
    count = int(outputs['count'])
    assert outputs['boxes'].shape == (20, 4)
    assert outputs['scores'].shape == outputs['labels'].shape == (20,)
    assert 0 < count < 20
    assert not outputs['boxes'][count:].any()
    assert not outputs['scores'][count:].any()


SCRIPT = """
import sys
import torch
import mmdetlike_ops

program = torch.export.load(sys.argv[1]).module()
outputs = program(torch.load(sys.argv[2]))
assert not [name for name in sys.modules if name.split('.')[0] in ('mmdetlike', 'mmengine')]
torch.save(outputs, sys.argv[3])
"""


def test_it_needs_torch_and_the_kernels_alone(artifact, tmp_path):
    torch.save(IMAGES[1], tmp_path / 'image.pt')
    run = python('-c', SCRIPT, artifact / 'program.pt2', tmp_path / 'image.pt', tmp_path / 'outputs.pt')
    assert run.returncode == 0, run.stderr
    outputs = torch.load(tmp_path / 'outputs.pt')
    assert_equal_results(lambda image: outputs, choosy('retinanet'), IMAGES[1:2])


def test_raw_input_is_normalized_by_the_program(tmp_path):
    model = choosy('retinanet')
    deploy(model, tmp_path, 'torch', (64, 64), PIPELINE, raw_input=True)
    program = torch.export.load(tmp_path / 'program.pt2').module()
    pixels = torch.randint(0, 256, (3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image = model.data_preprocessor(dict(inputs=[pixels]))['inputs']
    assert_equal_results(lambda _: program(pixels[None].float()), model, [image])


@pytest.mark.parametrize('raw_input', [False, True])
def test_smaller_images_are_padded_as_by_the_model(tmp_path, raw_input):
    model = choosy('retinanet')
    model.data_preprocessor.pad_value = 0.5
    deploy(model, tmp_path, 'torch', (64, 96), PIPELINE, raw_input)
    artifact = read_artifact(tmp_path)
    pixels = torch.randint(0, 256, (3, 40, 50), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    prepared = artifact.prepared(pixels)
    normalized = (prepared.flip(1) - 120) / 60 if raw_input else prepared
    expected = model.data_preprocessor(dict(inputs=[pixels, pixels.new_zeros(3, 64, 96)]))['inputs'][:1]
    torch.testing.assert_close(normalized, expected, atol=1e-5, rtol=0)


def test_the_manifest_tells_what_the_program_is(artifact):
    manifest = read_manifest(artifact)
    assert (manifest.kind, manifest.detector, manifest.classes) == ('torch', 'RetinaNet', list(CLASSES))
    assert (manifest.size, manifest.limit, manifest.outputs) == ([64, 64], 20, ['boxes', 'scores', 'labels', 'count'])
    assert (manifest.mean, manifest.std, manifest.reverse_channels) == ([120.0] * 3, [60.0] * 3, True)
    assert manifest.test_cfg['nms'] == dict(type='nms', iou_threshold=0.5)
    assert manifest.versions['torch'] == torch.__version__


@pytest.mark.parametrize(
    'entries, message',
    [
        (dict(format=4), 'format is 4, this version of mmdetlike reads 1 to 3'),
        (dict(format='2'), "format is '2', this version of mmdetlike reads 1 to 3"),
        (dict(classes=None), 'lacks classes; expected format, kind'),
        (dict(colour='red'), 'has unknown entries: colour'),
        (dict(kind='tflite'), "kind must be one of torch, aoti, onnx, got 'tflite'"),
        (dict(size='64'), "size must be of the type list, got '64'"),
        (dict(size=[64]), r'size must be height and width in pixels, got \[64\]'),
        (dict(size=[64, -1]), r'size must be height and width in pixels, got \[64, -1\]'),
        (dict(smallest_size=[64, 96]), r'smallest_size must be height and width in pixels, at most those of size'),
        (dict(size_divisor=0), 'size_divisor must be above 0, got 0'),
        (dict(batch_size=0), 'batch_size must be above 0, got 0'),
        (dict(batch_size=2), r'takes images of 64 x 64, but .*manifest.json says 64 x 64, 2 at once'),
        (dict(classes=[]), r'classes must be a list of names, got \[\]'),
        (dict(palette=[]), r'palette must be a color \(.*\) for each of the classes, got \[\]'),
        (dict(palette=[[0, 0, 256]] * 3), r'palette must be a color \(.*\) for each of the classes, got'),
        (dict(format=True), 'format is True, this version of mmdetlike reads 1 to 3'),
        (dict(limit=0), 'limit must be above 0, got 0'),
        (dict(mean=[float('inf')] * 3), 'mean must be as many numbers as std, got'),
        (dict(mean=[1.0] * 4, std=[1.0] * 4), 'std must be at most 3 numbers above 0, got'),
        (dict(pad_value=float('nan')), 'pad_value must be a finite number, got nan'),
        (dict(raw_input=True), 'raw_input is False in the program, True in the manifest'),
        (dict(reverse_channels=False), 'reverse_channels is True in the program, False in the manifest'),
        (dict(mean=[1.0] * 3), r'mean is \[120.0, 120.0, 120.0\] in the program, \[1.0, 1.0, 1.0\] in the manifest'),
        (dict(pad_value=7), 'pad_value is 0 in the program, 7 in the manifest'),
        (dict(limit=7), 'limit is 20 in the program, 7 in the manifest'),
        (dict(detector='FCOS'), "detector is 'RetinaNet' in the program, 'FCOS' in the manifest"),
        (dict(outputs=['boxes', 'scores']), 'outputs is .* in the program, .* in the manifest'),
        (dict(classes=['one'], palette=[[0, 0, 0]]), 'the number of classes is 3 in the program, 1 in the manifest'),
        (dict(mean=[1.0]), r'mean must be as many numbers as std, got \[1.0\]'),
        (dict(std=[1.0, 0.0, 1.0]), r'std must be at most 3 numbers above 0, got \[1.0, 0.0, 1.0\]'),
        (dict(limit=True), 'limit must be of the type int, got True'),
        (dict(program='../program.pt2'), 'program must be the name of a file in the same folder'),
        (dict(sha256='0' * 64), r'does not fit .*manifest.json: its sha256 is \w{12}..., expected 000000000000...'),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(changed, entries, message):
    with pytest.raises(CheckpointError, match=message):
        Detector.load(changed(**entries))


@pytest.mark.parametrize('text, message', [('{', 'is not JSON: '), ('[]', 'must hold a JSON object, got list')])
def test_a_damaged_manifest_is_refused(changed, text, message):
    folder = changed()
    (folder / 'manifest.json').write_text(text)
    with pytest.raises(CheckpointError, match=rf'manifest.json {message}'):
        Detector.load(folder)


def test_a_damaged_program_is_refused(changed):
    folder = changed()
    (folder / 'program.pt2').write_bytes((folder / 'program.pt2').read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r'program.pt2 does not fit .*run tools/deploy.py again'):
        Detector.load(folder)


def test_what_is_not_there_is_named(changed, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'gone is no folder of tools/deploy.py'):
        Detector.load(tmp_path / 'gone')
    folder = changed()
    (folder / 'program.pt2').unlink()
    with pytest.raises(FileNotFoundError, match=r'manifest.json names the program program.pt2, which is not in'):
        Detector.load(folder)


def test_another_size_than_the_programs_is_refused(changed):
    with pytest.raises(CheckpointError, match=r'takes images of 64 x 64, .*manifest.json says 96 x 64'):
        Detector.load(changed(size=[96, 64], smallest_size=[96, 64]))


def test_fewer_classes_than_the_program_finds_are_refused(changed):
    artifact = read_artifact(changed())
    artifact.manifest = dataclasses.replace(artifact.manifest, classes=['one'])  # as of a program that keeps no number
    outputs = dict(boxes=torch.zeros(1, 4), scores=torch.ones(1), labels=torch.tensor([2]), count=torch.tensor(1))
    artifact.program = artifact.program._replace(run=lambda image: outputs)
    with pytest.raises(CheckpointError, match=r'found class 2; its manifest names 1 classes'):
        artifact(torch.zeros(3, 64, 64))


def test_larger_pictures_are_refused(artifact):
    with pytest.raises(ConfigError, match=r'a picture is 70 x 64 .* takes 64 x 64 at most: .* larger --size'):
        Detector.load(artifact)(np.zeros((70, 64, 3), np.uint8))


def test_a_size_that_the_network_would_pad_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'the size 64 x 60 .* must be of positive multiples of 32'):
        deploy(choosy('retinanet'), tmp_path, 'torch', (64, 60), PIPELINE)


@pytest.mark.parametrize(
    'family, message',
    [
        ('fast_rcnn', 'FastRCNN cannot be exported: detect needs a detector that makes its proposals'),
        ('maskformer', 'MaskFormer cannot be exported: only instances .* test_cfg.instance_on is off'),
        ('solo', 'SOLO cannot be exported: SOLO has no form of tensors alone yet'),
    ],
)
def test_what_cannot_be_exported_is_named(family, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        deploy(build(family).eval(), tmp_path, 'torch', (64, 64), PIPELINE)


def test_a_detector_without_a_bound_gets_one(tmp_path):
    model = choosy('yolox')
    manifest = deploy(model, tmp_path, 'torch', (64, 64), PIPELINE)
    assert 'max_per_img' not in model.test_cfg
    assert manifest.limit == 300
    assert min(assert_equal_results(read_artifact(tmp_path).program.run, model)) > 0


def test_a_detector_whose_graph_is_bound_to_a_size_is_refused(tmp_path, monkeypatch):
    model = choosy('retinanet')
    detect = model.detect

    def detect_in_sizes_as_numbers(image):
        size = image.new_tensor(image.shape[-2:])
        return [dict(found, boxes=found['boxes'].minimum(size.flip(0).repeat(2))) for found in detect(image)]

    monkeypatch.setattr(model, 'detect', detect_in_sizes_as_numbers)
    with pytest.raises(ConfigError, match=r'RetinaNet cannot be exported for images of 64 x 64 to 128 x 128'):
        deploy(model, tmp_path, 'torch', (128, 128), PIPELINE, smallest_size=(64, 64))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope='module')
def open_artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp('export') / 'open'
    deploy(choosy('retinanet'), folder, 'torch', (160, 224), PIPELINE, smallest_size=(64, 96))
    return folder


@pytest.mark.parametrize('size', [(64, 96), (96, 96), (128, 192), (160, 224)])
def test_a_program_of_many_sizes_finds_what_the_model_finds(open_artifact, size):
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2
    assert max(assert_equal_results(read_artifact(open_artifact).program.run, choosy('retinanet'), [image])) > 0


@pytest.mark.parametrize(
    'size, expected', [((64, 96), (64, 96)), ((10, 97), (64, 128)), ((65, 224), (96, 224)), ((160, 1), (160, 96))]
)
def test_images_are_padded_to_the_next_size(open_artifact, size, expected):
    artifact = read_artifact(open_artifact)
    assert artifact.prepared(torch.zeros(3, *size)).shape == (1, 3, *expected)
    assert artifact(torch.zeros(3, *size))['boxes'].shape[1] == 4


def test_the_manifest_tells_sizes(open_artifact):
    manifest = read_manifest(open_artifact)
    assert (manifest.smallest_size, manifest.size, manifest.size_divisor) == ([64, 96], [160, 224], 32)
    assert str(manifest.sizes) == '64 x 96 to 160 x 224 in steps of 32'
    with pytest.raises(ConfigError, match=r'a picture is 161 x 64 .* takes 160 x 224 at most'):
        read_artifact(open_artifact).prepared(torch.zeros(3, 161, 64))


@pytest.mark.parametrize(
    'smallest, message',
    [
        ((64, 100), r'the size 64 x 100 \(height x width\) must be of positive multiples of 32'),
        ((96, 64), r'the smallest size, 96 x 64 \(height x width\), must not exceed the largest, 64 x 64'),
    ],
)
def test_a_wrong_range_of_sizes_is_refused(tmp_path, smallest, message):
    with pytest.raises(ConfigError, match=message):
        deploy(choosy('retinanet'), tmp_path, 'torch', (64, 64), PIPELINE, smallest_size=smallest)


@pytest.mark.parametrize(
    'version, lacking', [(1, ('smallest_size', 'size_divisor', 'batch_size')), (2, ('batch_size',))]
)
def test_a_manifest_of_an_earlier_format_is_read(changed, version, lacking):
    artifact = read_artifact(changed(format=version, **dict.fromkeys(lacking)))
    assert artifact.manifest.sizes == Sizes.fixed(64, 64)


@pytest.fixture(scope='module')
def artifact_of_batch(tmp_path_factory):
    folder = tmp_path_factory.mktemp('export') / 'batch'
    deploy(choosy('retinanet'), folder, 'torch', (128, 128), PIPELINE, smallest_size=(64, 64), batch_size=2)
    return folder


@pytest.mark.parametrize('size', [(64, 64), (128, 96)])
def test_a_program_of_a_batch_finds_what_the_model_finds(artifact_of_batch, size):
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 2
    program = read_artifact(artifact_of_batch).program
    assert program.sizes == Sizes((64, 64), (128, 128), 32, batch_size=2)
    assert max(assert_equal_results_of_batch(program.run, choosy('retinanet'), images)) > 0


def test_a_batch_of_images_of_several_sizes_is_padded_and_cut_as_by_the_model(artifact_of_batch):
    artifact = read_artifact(artifact_of_batch)
    sizes = [(64, 96), (96, 64), (70, 70)]
    images = [torch.randn(3, *size, generator=torch.Generator().manual_seed(0)) * 200 for size in sizes]
    assert artifact.prepared(*images[:2]).shape == (2, 3, 96, 96)
    found = artifact.detect(images)  # two at once, then one and nothing
    model = choosy('retinanet')
    batches = (artifact.prepared(*images[:2]), artifact.prepared(images[2]))
    expected = [of_image for batch in batches for of_image in model.detect(batch)]
    assert [len(of_image['boxes']) for of_image in found] == [len(of_image['boxes']) for of_image in expected]
    assert sum(len(of_image['boxes']) for of_image in found) > 0
    for of_image, other, (height, width) in zip(found, expected, sizes):
        torch.testing.assert_close(of_image['scores'], other['scores'])
        within = torch.tensor([width, height, width, height])
        torch.testing.assert_close(of_image['boxes'], other['boxes'].clamp(min=0).minimum(within), atol=1e-3, rtol=0)
    with pytest.raises(ConfigError, match=r'a picture is 130 x 64 .* takes 128 x 128 at most'):
        artifact.detect([images[0], torch.zeros(3, 130, 64)])


def test_a_batch_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r'takes a batch of one image or more, got batch_size=0'):
        deploy(choosy('retinanet'), tmp_path, 'torch', (64, 64), PIPELINE, batch_size=0)


@pytest.mark.slow
@pytest.mark.parametrize('optimize', ['fp32', 'bf16'])
def test_an_optimized_detector_is_deployed_as_it_is(tmp_path, optimize):
    if optimize == 'bf16' and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip('bf16 needs a CPU with AVX-512')
    model = optimize_model(choosy('retinanet'), optimize)
    deploy(model, tmp_path, 'torch', (64, 64), PIPELINE)
    program = torch.export.load(tmp_path / 'program.pt2')
    assert not [node for node in program.graph.nodes if 'batch_norm' in str(node.target)]
    if optimize == 'fp32':
        assert max(assert_equal_results(program.module(), model)) > 0
        return
    # a program doesn't round to 8 bits where the model does, which computes activations within convolutions; as far as
    # that the model is from one of full precision, too
    counts = []
    for image in IMAGES:
        with torch.no_grad():
            expected = model.detect(image)[0]
        got = program.module()(image)
        found = {name: got[name][: int(got['count'])] for name in expected}
        counts.append(rows_found(found, expected, pixels=2, scores=0.02))
        assert counts[-1] >= 0.9 * len(expected['scores'])
    assert max(counts) > 10


def test_large_pictures_are_looked_at_in_tiles(tmp_path):
    model = choosy('retinanet')
    model.bbox_head.test_cfg.score_thr = 0.0
    shrink = dict(type='Resize', scale=(64, 64), keep_ratio=True)
    deploy(model, tmp_path / 'program', 'torch', (64, 64), [PIPELINE[0], shrink, *PIPELINE[1:]])
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    detector = Detector.load(tmp_path / 'program', show_progress=False, tile=64, overlap=0.25)
    (found,) = detector(image, batch_size=4)['predictions']
    # an object within the first tile, and off the borders that others share, is that of the tile alone
    (tile,) = Detector.load(tmp_path / 'program', show_progress=False)(image[:64, :64])['predictions']
    best = next(box for box in tile['bboxes'] if max(box) < 60)
    assert np.abs(np.array(found['bboxes']) - best).max(1).min() < 1e-3
    assert np.array(found['bboxes'])[:, 2].max() > 64
    with pytest.raises(ConfigError, match='tile must be an edge length'):
        Detector.load(tmp_path / 'program', tile=3)
