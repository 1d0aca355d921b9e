import copy
import functools
import http.server
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmdetlike.apis import DetInferencer
from mmdetlike.apis.results import to_dict, to_json
from mmdetlike.datasets.errors import ImageError
from mmdetlike.errors import ConfigError
from mmdetlike.registry import INFERENCERS
from mmdetlike.structures import DetDataSample
from mmdetlike.structures.mask import rle_to_bitmap
from mmdetlike.utils.outputs import OutputError
from tests.apis.helpers import (
    CLASSES,
    CONFIG,
    files_below,
    picture,
    save_checkpoint,
    tiny_detector,
    write_pictures,
    write_video,
)


@pytest.fixture
def folder(tmp_path):
    write_pictures(tmp_path / 'pictures', 4)
    return tmp_path / 'pictures'


def rgb(path):
    return np.asarray(Image.open(path).convert('RGB'))


# -- inputs ------------------------------------------------------------------------------------------------------------


def test_every_kind_of_input_gives_the_same(inferencer, folder, expected):
    (folder / 'notes.txt').write_text('no picture')
    arrays = [picture(i) for i in range(4)]
    for inputs in (
        folder,
        str(folder),
        f'{folder}/*',
        f'{folder}/[0-3].png',
        [folder / '0.png', str(folder / '1.png'), picture(2), f'{folder}/3*'],
        [folder],
        arrays,
        tuple(arrays),
    ):
        assert inferencer(inputs) == dict(predictions=expected, visualization=[]), inputs
    for inputs in (folder / '0.png', str(folder / '0.png'), picture()):
        assert inferencer(inputs)['predictions'] == expected[:1]


def test_batches(inferencer, folder, expected):
    predictions = inferencer(folder, batch_size=3)['predictions']
    assert [p['labels'] for p in predictions] == [p['labels'] for p in expected]
    for one, other in zip(predictions, expected):
        np.testing.assert_allclose(one['bboxes'], other['bboxes'], atol=1e-3)


def test_name_with_brackets_is_a_file(inferencer, folder, expected):
    (folder / '0.png').rename(folder / 'a[1].png')
    assert inferencer(folder / 'a[1].png')['predictions'] == expected[:1]


def test_no_more_pictures_are_read_than_are_soon_used(detector, folder):
    inferencer = DetInferencer(detector, show_progress=False)
    read = []
    load = inferencer.pipeline.load
    inferencer.pipeline.load = lambda image, *args: read.append(image) or load(image, *args)
    outcomes = inferencer.stream(sorted(folder.iterdir()) * 10, batch_size=2)
    next(outcomes)
    outcomes.close()
    assert len(read) <= 10, 'three batches for the five results that are finished at a time, and two ahead'


def test_a_pipeline_that_packs_nothing(detector):
    cfg = copy.deepcopy(detector.cfg)
    cfg.test_dataloader.dataset.pipeline = [dict(type='LoadImageFromFile')]
    unpacked = copy.copy(detector)
    unpacked.cfg = cfg
    with pytest.raises(ConfigError, match=r'the test pipeline makes .*img.*: expected inputs, by PackDetInputs'):
        DetInferencer(unpacked, show_progress=False)(picture())


def test_inputs_that_lead_nowhere(inferencer, tmp_path):
    (tmp_path / 'notes.txt').write_text('no picture')
    with pytest.raises(
        FileNotFoundError, match=rf'folder {tmp_path}: there are no pictures.* among its 1 entries.*jpg'
    ):
        inferencer(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'pattern .*\*\.jpg: there are no pictures'):
        inferencer(f'{tmp_path}/*.jpg')
    with pytest.raises(FileNotFoundError, match=r'gone\.jpg: there is no such picture'):
        inferencer(tmp_path / 'gone.jpg')
    with pytest.raises(FileNotFoundError, match=r"'' is not the path of a picture"):
        inferencer('')  # as of an unset variable of the shell; to Path it is the folder of the process
    for camera in ('0', 'rtsp://127.0.0.1/x'):
        with pytest.raises(FileNotFoundError, match=f'{camera}: there is no such .* hand over the frames, as arrays'):
            inferencer(camera)
    with pytest.raises(ValueError, match='tensor'):
        inferencer(torch.zeros(8, 8))
    assert inferencer([]) == dict(predictions=[], visualization=[])


def test_one_broken_picture_among_many(inferencer, folder, expected, capsys, tmp_path):
    content = (folder / '1.png').read_bytes()
    (folder / '1.png').write_bytes(content[: len(content) // 2])
    inputs = [folder, folder / 'gone.jpg', np.zeros((3, 3), np.float32)]
    result = inferencer(inputs, batch_size=1, out_dir=tmp_path / 'out', return_vis=True)
    predictions = result['predictions']
    assert [predictions[i] for i in (0, 2, 3)] == [expected[i] for i in (0, 2, 3)]
    assert '1.png: the file is truncated' in predictions[1]['error']
    assert [image is None for image in result['visualization']] == [False, True, False, False, True, True]
    printed = capsys.readouterr().out
    assert '3 of 6 inputs could not be read' in printed
    assert all(text in printed for text in ('1.png: the file is trunc', 'gone.jpg: there is no such', 'got float32'))
    assert sorted(path.name for path in (tmp_path / 'out/vis').iterdir()) == ['0.png', '2.png', '3.png']


def test_a_batch_of_broken_pictures_only(inferencer, folder, expected):
    predictions = inferencer(['a.jpg', 'b.jpg', folder / '0.png'], batch_size=2)['predictions']
    assert [list(prediction) for prediction in predictions[:2]] == [['error'], ['error']]
    assert predictions[2] == expected[0]


def test_a_sole_broken_picture_raises(inferencer, folder):
    (folder / '1.png').write_bytes(b'nothing')
    with pytest.raises(ImageError, match=r'1\.png'):
        inferencer(folder / '1.png')


@pytest.fixture
def address(folder):
    handler = functools.partial(_QuietHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_addresses(inferencer, address, expected, tmp_path):
    result = inferencer(f'{address}/0.png?size=full', out_dir=tmp_path)
    assert result['predictions'] == expected[:1]
    assert (tmp_path / 'vis/0.png').is_file()
    with pytest.raises(ImageError, match=rf'{address}/gone\.png: could not be downloaded \(.*File not found'):
        inferencer(f'{address}/gone.png')
    assert 'error' in inferencer([f'{address}/gone.png', picture()])['predictions'][0]


def test_offline(inferencer):
    with pytest.raises(ImageError, match=r'http://127\.0\.0\.1:9/a\.jpg: could not be downloaded .*offline'):
        inferencer('http://127.0.0.1:9/a.jpg')


# -- outputs -----------------------------------------------------------------------------------------------------------


def test_files(inferencer, folder, expected, tmp_path, capsys):
    (folder / '3.png').rename(folder / '3.JPEG')
    out = tmp_path / 'out'
    result = inferencer(folder, out_dir=out, no_save_pred=False, return_vis=True, pred_score_thr=0.2)
    assert sorted(path.name for path in (out / 'vis').iterdir()) == ['0.png', '1.png', '2.png', '3.jpeg']
    assert [json.loads((out / f'preds/{i}.json').read_text()) for i in range(4)] == expected == result['predictions']
    assert f'pictures in {out}/vis, predictions in {out}/preds' in capsys.readouterr().out
    for i in range(3):
        np.testing.assert_array_equal(rgb(out / f'vis/{i}.png'), result['visualization'][i])
        assert (rgb(out / f'vis/{i}.png') != picture(i)[..., ::-1]).any()


def test_what_is_drawn(inferencer):
    original = picture()[..., ::-1]
    for settings in (dict(pred_score_thr=1.1), dict(draw_pred=False)):
        np.testing.assert_array_equal(inferencer(picture(), return_vis=True, **settings)['visualization'][0], original)
    drawn = inferencer(picture(), return_vis=True, pred_score_thr=0.0)['visualization'][0]
    assert drawn.shape == original.shape and (drawn != original).mean() > 0.05


def test_files_that_are_not_wanted(inferencer, tmp_path, capsys):
    inferencer(picture(), out_dir=tmp_path / 'a', no_save_vis=True)
    assert not (tmp_path / 'a').exists() and capsys.readouterr().out == ''
    inferencer(picture(), out_dir=tmp_path / 'b', no_save_vis=True, no_save_pred=False)
    assert sorted(path.name for path in (tmp_path / 'b').iterdir()) == ['.sources.jsonl', 'preds']


def test_pictures_of_the_same_name(inferencer, tmp_path, expected):
    names = ('cam1/0001.jpg', 'cam2/0001.jpg', '0001.png', '0001.jpg')
    for i, name in enumerate(names):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'in' / name), picture(i))
    inputs = [*(tmp_path / 'in' / name for name in names), picture(3)]
    out = tmp_path / 'out'
    result = inferencer(inputs, out_dir=out, no_save_pred=False)
    assert files_below(out / 'vis') == sorted([*names, '00000004.jpg'])
    predictions = ('cam1/0001', 'cam2/0001', '0001.png', '0001.jpg', '00000004')
    for name, prediction in zip(predictions, result['predictions']):
        assert json.loads((out / f'preds/{name}.json').read_text()) == prediction
    first = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    inferencer(inputs, out_dir=out, no_save_pred=False)
    assert {path: path.read_bytes() for path in out.rglob('*') if path.is_file()} == first


def test_results_of_another_call_stay(inferencer, tmp_path, expected):
    for i, name in enumerate('ab'):
        write_pictures(tmp_path / name, i + 1)[i].rename(tmp_path / name / 'x.png')
    for _ in range(2):
        for inputs in (tmp_path / 'a/x.png', tmp_path / 'b/x.png', picture(2), picture(3)):
            inferencer(inputs, out_dir=tmp_path / 'out', no_save_pred=False)
    names = ('x', 'x_1', '00000000', '00000000_1')
    assert {path.stem for path in (tmp_path / 'out/vis').iterdir()} == set(names)
    assert [json.loads((tmp_path / f'out/preds/{name}.json').read_text()) for name in names] == expected


@pytest.mark.parametrize('kind', ['picture', 'video'])
def test_an_output_over_an_input_is_refused_before_predicting(detector, tmp_path, kind):
    (tmp_path / 'flat').mkdir()
    if kind == 'picture':
        (path, *_) = write_pictures(tmp_path / 'flat/vis', 2)
    else:
        (tmp_path / 'flat/vis').mkdir()
        path = tmp_path / 'flat/vis/clip.mp4'
        write_video(path, 2, 'mp4v')
    content = path.read_bytes()
    inferencer = DetInferencer(detector, show_progress=False)
    inferencer.pipeline = None
    for inputs in (path, tmp_path / 'flat/vis', [picture(), str(path)]):
        with pytest.raises(OutputError, match=rf'flat/vis/{path.name} is one of the inputs and would be replaced'):
            inferencer(inputs, out_dir=tmp_path / 'flat')
    assert path.read_bytes() == content


def test_files_that_are_not_ours_stay(inferencer, tmp_path):
    write_pictures(tmp_path / 'in', 1)
    for folder, name in (('vis', '0.png'), ('preds', '0.json')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text('mine')
    inferencer(tmp_path / 'in/0.png', out_dir=tmp_path, no_save_pred=False)
    assert (tmp_path / 'vis/0.png').read_text() == (tmp_path / 'preds/0.json').read_text() == 'mine'
    assert files_below(tmp_path / 'vis') == ['0.png', '0_1.png']
    assert files_below(tmp_path / 'preds') == ['0.json', '0_1.json']


def test_json_has_no_infinite_numbers():
    prediction = dict(scores=[0.5], bboxes=[[float('-inf'), 1.0, float('inf'), float('nan')]], labels=[3])
    text = to_json(prediction)
    assert json.loads(text) == dict(scores=[0.5], bboxes=[[None, 1.0, None, None]], labels=[3])
    assert 'Infinity' not in text and 'NaN' not in text


def test_samples_and_printing(inferencer, expected, capsys):
    result = inferencer([picture(0), picture(1)], return_datasamples=True, print_result=True)
    assert all(isinstance(sample, DetDataSample) for sample in result['predictions'])
    assert [to_dict(sample) for sample in result['predictions']] == expected[:2]
    lines = capsys.readouterr().out.splitlines()
    shown = [[score for score in prediction['scores'] if score >= 0.3] for prediction in expected[:2]]
    assert len(lines) == 2 + len(shown[0]) + len(shown[1])
    others = len(expected[0]['scores']) - len(shown[0])
    assert lines[0] == f'array (64, 96, 3): {len(shown[0])} objects that score 0.3 or more, {others} others'
    box = ', '.join(f'{x:.1f}' for x in expected[0]['bboxes'][0])
    assert lines[1] == f'  {CLASSES[expected[0]["labels"][0]]} {expected[0]["scores"][0]:.2f} at {box}'


def test_masks_are_run_length_encoded():
    masks = torch.zeros(1, 4, 6, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    sample = DetDataSample()
    sample.pred_instances = InstanceData(
        labels=torch.tensor([1]), scores=torch.tensor([0.5]), bboxes=torch.tensor([[2.0, 1, 5, 3]]), masks=masks
    )
    result = to_dict(sample)
    assert result.keys() == {'labels', 'scores', 'bboxes', 'masks'}
    assert result['masks'][0]['size'] == [4, 6]
    from faster_coco_eval.core import mask as rle

    np.testing.assert_array_equal(rle.decode(result['masks'][0]), masks[0].numpy())
    assert json.loads(json.dumps(result)) == result


def test_progress_bar(detector, capsys):
    DetInferencer(detector)([picture(), picture()])
    assert '2/2' in capsys.readouterr().err
    DetInferencer(detector)(picture())
    DetInferencer(detector, show_progress=False)([picture(), picture()])
    assert '2/2' not in capsys.readouterr().err


def test_showing_without_a_display_warns(inferencer, monkeypatch):
    monkeypatch.setattr('mmdetlike.visualization.local_visualizer.has_display', lambda: False)
    with pytest.warns(UserWarning, match='no display'):
        inferencer(picture(), show=True)


# -- other forms of input, threads -------------------------------------------------------------------------------------


def test_a_generator_is_read_as_it_goes(detector, folder, expected):
    inferencer = DetInferencer(detector, show_progress=False)
    taken = []

    def paths():
        for path in sorted(folder.iterdir()):
            taken.append(threading.current_thread())
            yield path

    found = inferencer.stream((path for _ in range(10) for path in paths()), batch_size=2)
    assert taken == []
    next(found)
    found.close()
    assert 2 <= len(taken) < 16
    assert set(taken) == {threading.current_thread()}, 'a generator may be bound to its thread'
    assert inferencer(paths())['predictions'] == expected
    assert inferencer(path for path in sorted(folder.iterdir()))['predictions'] == expected


def test_stacks_and_channel_order(inferencer, expected, tmp_path):
    stack = np.stack([picture(i) for i in range(4)])
    rgb = np.ascontiguousarray(stack[..., ::-1])
    assert inferencer(stack)['predictions'] == expected
    assert inferencer(rgb, channel_order='rgb')['predictions'] == expected
    pillow = [Image.fromarray(image) for image in rgb]
    assert inferencer(pillow, out_dir=tmp_path)['predictions'] == expected
    assert inferencer(torch.from_numpy(stack).permute(0, 3, 1, 2))['predictions'] == expected
    drawn = inferencer(rgb[0], channel_order='rgb', return_vis=True, draw_pred=False)['visualization'][0]
    np.testing.assert_array_equal(drawn, rgb[0])
    write_pictures(tmp_path / 'in', 1)
    from_file = inferencer([tmp_path / 'in/0.png', rgb[1]], channel_order='rgb')['predictions']
    assert from_file == expected[:2], 'files know their order'


def test_threads_get_their_own_pictures(inferencer):
    pictures = [picture(i) for i in range(4)] * 6
    alone = [inferencer(image, return_vis=True)['visualization'][0] for image in pictures[:4]]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda image: inferencer(image, return_vis=True)['visualization'][0], pictures))
    for i, image in enumerate(drawn):
        np.testing.assert_array_equal(image, alone[i % 4])


def test_a_copy_can_be_made(inferencer):
    copied = copy.deepcopy(inferencer)
    assert copied(picture())['predictions'] == inferencer(picture())['predictions']


# -- construction ------------------------------------------------------------------------------------------------------


def test_model_from_config_and_from_its_checkpoint(detector, inferencer, tmp_path, expected):
    weights = save_checkpoint(detector, tmp_path / 'tiny.pth')
    for model in (None, detector.cfg, detector.cfg.to_dict()):
        built = DetInferencer(model, weights, device='cpu', show_progress=False)
        assert built(picture())['predictions'] == expected[:1]
        assert built.visualizer.dataset_meta['classes'] == CLASSES


def test_through_the_registry(detector):
    assert isinstance(INFERENCERS.build(dict(type='mmdet.DetInferencer', model=detector)), DetInferencer)


def test_config_by_name_without_weights_warns():
    with pytest.warns(UserWarning, match='untrained'):
        built = DetInferencer('retinanet_r18_fpn_shapes', device='cpu', palette='red')
    assert type(built.model).__name__ == 'RetinaNet'
    assert built.visualizer.dataset_meta['palette'] == [(255, 0, 0)] * 5


def test_arguments_that_do_not_go_together(detector):
    with pytest.raises(ValueError, match=r"weights='a\.pth' were given with a FasterRCNN"):
        DetInferencer(detector, 'a.pth')
    with pytest.raises(ValueError, match='give a model'):
        DetInferencer()
    with pytest.raises(TypeError, match='the Linear needs cfg'):
        DetInferencer(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match='got int'):
        DetInferencer(3)
    with pytest.raises(FileNotFoundError, match=r"'retinanet_r18_fpn_shape' .*did you mean retinanet_r18_fpn_shapes"):
        DetInferencer('retinanet_r18_fpn_shape')
    with pytest.raises(FileNotFoundError, match=r'gone\.pth does not exist'):
        DetInferencer(CONFIG, 'gone.pth')


@pytest.mark.parametrize('threshold', ['0.3', None, float('nan')])
def test_a_threshold_is_a_number(detector, threshold):
    with pytest.raises(ValueError, match=f'pred_score_thr must be a number, got {threshold!r}'):
        DetInferencer(detector)('gone.png', pred_score_thr=threshold)


def test_segments_become_plain_data():
    sample = DetDataSample()
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.tensor([[[1000, 1000], [2, 2]]]))
    told = to_dict(sample)['panoptic_seg']
    assert [segment['id'] for segment in told] == [2, 1000]
    assert rle_to_bitmap(told[1]['mask']).tolist() == [[1, 1], [0, 0]]


def test_a_picture_that_cannot_be_drawn_keeps_its_prediction(inferencer, folder, expected, tmp_path, monkeypatch):
    draw = inferencer.visualizer.add_datasample

    def fail_once(name, *args, **kwargs):
        if name.endswith('1.png'):
            raise ValueError('no such color')
        draw(name, *args, **kwargs)

    monkeypatch.setattr(inferencer.visualizer, 'add_datasample', fail_once)
    with pytest.warns(UserWarning, match=r'predictions of .*1\.png were not drawn: ValueError: no such color'):
        result = inferencer(folder, out_dir=tmp_path / 'out', no_save_pred=False)
    assert result['predictions'] == expected
    np.testing.assert_array_equal(rgb(tmp_path / 'out/vis/1.png'), rgb(folder / '1.png'))
    assert len(files_below(tmp_path / 'out/preds')) == 4


def test_a_detector_is_optimized_on_demand(expected):
    inferencer = DetInferencer(tiny_detector(), show_progress=False, optimize='bf16')
    predicted = inferencer(picture(0))['predictions'][0]
    assert inferencer.model.inference_dtype == torch.bfloat16
    assert predicted['scores'][:3] == pytest.approx(expected[0]['scores'][:3], abs=0.03)
