"""Prediction in shards: which pictures, which shards are left, and that results are those of the inferencer."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mmdetlike.apis import DetInferencer, init_detector
from mmdetlike.apis.batch import Job, Picture, Shards, list_pictures
from mmdetlike.apis.batch import pictures as batch_pictures
from mmdetlike.apis.batch.pictures import read_pictures
from mmdetlike.apis.batch.run import ShardPredictor
from mmdetlike.apis.batch.shards import broken_file, result_file
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from mmdetlike.utils.ray_cluster import check_room, connect

CONFIG = 'configs/quickstart/retinanet_r18_fpn_shapes.py'
ROOT = Path(__file__).parents[2]


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with three pictures, one of them in a folder below, and one that is damaged."""
    folder = tmp_path / 'pictures'
    (folder / 'below').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ('a.png', 'b.png', 'below/c.png'):
        cv2.imwrite(str(folder / name), rng.integers(0, 255, (40, 60, 3), np.uint8))
    (folder / 'damaged.jpg').write_bytes(b'no picture')
    (folder / 'notes.txt').write_text('no picture either')
    return folder


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> str:
    """A checkpoint of an untrained detector that finds something everywhere."""
    torch.manual_seed(0)
    model = init_detector(CONFIG, None, device='cpu')
    with torch.no_grad():
        model.bbox_head.retina_cls.bias.fill_(-1.0)
    path = tmp_path_factory.mktemp('weights') / 'detector.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=model.dataset_meta)), path)
    return str(path)


def parquet(file: Path, **columns) -> str:
    pq.write_table(pa.table(columns), file, row_group_size=2)
    return str(file)


def keys(found: list[Picture]) -> list[str]:
    return [picture.key for picture in found]


def test_pictures_of_a_folder_and_those_below_it_are_in_order(pictures):
    found = list_pictures(str(pictures))
    assert keys(found) == [str(pictures / name) for name in ('a.png', 'b.png', 'below/c.png', 'damaged.jpg')]
    assert list_pictures(str(pictures / '*.png')) == found[:2]


def test_pictures_of_a_coco_file_are_beside_it(tmp_path, pictures):
    path = pictures / 'images.json'
    path.write_text(json.dumps(dict(images=[dict(id=1, file_name='b.png'), dict(id=0, file_name='a.png')])))
    assert list_pictures(str(path)) == [Picture(n, str(pictures / n)) for n in ('b.png', 'a.png')]
    assert list_pictures(str(path), '/data')[0].path == '/data/b.png'


@pytest.mark.parametrize('content', ['[]', '{', '{"images": [{"id": 3}]}'])
def test_a_json_file_that_is_not_of_coco_is_told(tmp_path, content):
    path = tmp_path / 'x.json'
    path.write_text(content)
    with pytest.raises(DataError, match="no COCO file: expected 'images'"):
        list_pictures(str(path))


def test_parquet_files_hold_pictures_or_paths(tmp_path, pictures):
    contents = [(pictures / name).read_bytes() for name in ('a.png', 'b.png', 'damaged.jpg')]
    plain = parquet(tmp_path / 'plain.parquet', image_bytes=contents, id=[7, 8, 9])
    hugging = parquet(tmp_path / 'hugging.parquet', image=[dict(bytes=content, path=None) for content in contents])
    paths = parquet(tmp_path / 'paths.parquet', path=['a.png'])
    assert keys(list_pictures(plain)) == ['7', '8', '9']
    assert keys(list_pictures(hugging)) == [f'{hugging}#{i}' for i in range(3)]
    assert list_pictures(paths, str(pictures)) == [Picture('a.png', str(pictures / 'a.png'))]
    assert len(list_pictures(str(tmp_path / '*.parquet'))) == 7


def test_results_below_the_pictures_are_no_pictures(pictures):
    before = list_pictures(str(pictures))
    (pictures / 'found').mkdir()
    parquet(pictures / 'found' / 'part-000000.parquet', key=['a'])
    assert list_pictures(str(pictures), leave_out=str(pictures / 'found')) == before


def test_pictures_beside_parquet_files_are_not_left_out_in_silence(pictures):
    parquet(pictures / 'x.parquet', path=['a.png'])
    with pytest.raises(DataError, match=r'4 pictures, such as a.png, as well as 1 Parquet files, such as x.parq'):
        list_pictures(str(pictures))


def test_pictures_of_a_parquet_file_are_decoded_one_by_one(tmp_path, pictures, monkeypatch):
    content = (pictures / 'a.png').read_bytes()
    found = list_pictures(parquet(tmp_path / 'x.parquet', image=[content] * 5, id=list('abcde')))
    decoded = []
    decode = batch_pictures.decode_image
    monkeypatch.setattr(batch_pictures, 'decode_image', lambda *args, **kw: decoded.append(kw['path']) or decode(*args))
    entries = read_pictures([found[1], found[2], found[4]])
    assert next(entries).shape == (40, 60, 3)
    assert decoded == ['b']
    assert len(list(entries)) == 2
    assert decoded == ['b', 'c', 'e']


def test_a_damaged_parquet_file_breaks_what_is_behind_the_damage(tmp_path, pictures):
    content = (pictures / 'a.png').read_bytes()
    path = Path(parquet(tmp_path / 'x.parquet', image=[content + bytes([i]) for i in range(6)]))
    found = list_pictures(str(path))
    second = pq.ParquetFile(path).metadata.row_group(1).column(0)
    damaged = bytearray(path.read_bytes())
    start = second.dictionary_page_offset or second.data_page_offset
    damaged[start : start + second.total_compressed_size] = bytes(second.total_compressed_size)
    path.write_bytes(damaged)
    first, _, *others = read_pictures(found)
    assert first.shape == (40, 60, 3)
    assert [str(error) for error in others] == [str(others[0])] * 4
    assert 'its row in the Parquet file cannot be read: ' in str(others[0])


def test_a_picture_that_the_detector_refuses_is_broken_alone(tmp_path, pictures, weights, monkeypatch):
    predictor = ShardPredictor(Job(CONFIG, weights, batch_size=2), str(tmp_path))
    stream = predictor.inferencer.stream

    def picky(inputs, *args):
        inputs = list(inputs)
        if any(path.endswith('b.png') for path in inputs):
            raise ConfigError('it takes 32 x 32 at most')
        return stream(iter(inputs), *args)

    monkeypatch.setattr(predictor.inferencer, 'stream', picky)
    predictor.predict_shard(0, list_pictures(str(pictures)))
    assert pq.read_table(result_file(tmp_path, 0)).column('key').to_pylist() == [
        str(pictures / name) for name in ('a.png', 'below/c.png')
    ]
    lines = [json.loads(line) for line in broken_file(tmp_path, 0).read_text().splitlines()]
    assert [Path(line['key']).name for line in lines] == ['b.png', 'damaged.jpg']
    assert lines[0]['reason'] == 'it takes 32 x 32 at most'


def test_a_damaged_plan_is_told(tmp_path, pictures):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'plan.json').write_text('{')
    with pytest.raises(ConfigError, match=r'plan.json is damaged .*: give another folder, or --overwrite'):
        Shards(tmp_path / 'out', list_pictures(str(pictures)), 2, {}).start()


class Ray:
    """A cluster with some resources, or none."""

    def __init__(self, **resources) -> None:
        self.resources = resources

    def init(self, address, **settings) -> None:
        self.address = address
        if not self.resources:
            raise ConnectionError('Could not find any running Ray instance.\nMore.')

    def cluster_resources(self) -> dict:
        return self.resources


def test_no_cluster_is_told():
    with pytest.raises(ConfigError, match=r"there is no Ray cluster at 'auto': .* \(Could not find any running"):
        connect(Ray(), 'auto')


@pytest.mark.parametrize('address', ['127.0.0.1:1', 'ray://127.0.0.1:1'])
def test_an_address_where_nothing_listens_is_told_at_once(address):
    with pytest.raises(ConfigError, match=r"no Ray cluster at '.*127.0.0.1:1': .* \(.*Connection refused\)"):
        connect(Ray(CPU=2.0), address)


@pytest.mark.parametrize(
    'address, workers, gpus, sentence',
    [
        (None, 3, 0, '3 workers with 1 CPU each were asked for, but the machine has 2 CPU'),
        (None, 1, 1, '1 workers with 1 GPU each were asked for, but the machine has 0 GPU'),
        ('auto', 4, 0.5, '4 workers with 0.5 GPU each were asked for, but the cluster has 0 GPU'),
    ],
)
def test_workers_that_wait_without_end_are_refused(address, workers, gpus, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_room(Ray(CPU=2.0), address, workers, gpus)


@pytest.mark.parametrize('address, given', [(None, 'local'), ('', 'local'), ('auto', 'auto')])
def test_a_cluster_that_happens_to_run_here_is_not_joined_unasked(address, given):
    ray = Ray(CPU=2.0)
    connect(ray, address)
    assert ray.address == given


def test_workers_that_fit_or_may_fit_later():
    check_room(Ray(CPU=2.0), None, 2, 0)
    check_room(Ray(CPU=2.0), 'auto', 16, 0)
    check_room(Ray(CPU=2.0, GPU=1.0), None, 2, 0.5)


def test_a_picture_that_moves_is_broken(tmp_path):
    frames = [Image.new('RGB', (20, 20), color) for color in ('red', 'green')]
    frames[0].save(tmp_path / 'moves.gif', save_all=True, append_images=frames[1:])
    (entry,) = read_pictures(list_pictures(str(tmp_path)))
    assert 'several frames' in str(entry)


def test_bad_sources_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such folder, file'):
        list_pictures(str(tmp_path / 'absent'))
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(FileNotFoundError, match='no pictures among 1 files'):
        list_pictures(str(tmp_path))
    with pytest.raises(DataError, match='has the columns x; expected contents'):
        list_pictures(parquet(tmp_path / 'x.parquet', x=[1]))
    (tmp_path / 'x.parquet').write_bytes(b'PAR1')
    with pytest.raises(DataError, match='is no Parquet file'):
        list_pictures(str(tmp_path / 'x.parquet'))


def some_shards(folder: Path, **settings) -> Shards:
    return Shards(folder, [Picture(str(i), f'/p/{i}') for i in range(5)], 2, dict(weights='abc', **settings))


def test_shards_that_are_done_are_left_out(tmp_path):
    shards = some_shards(tmp_path / 'out')
    assert len(shards) == 3
    assert shards.start() == [0, 1, 2]
    result_file(shards.folder, 1).write_bytes(b'')
    assert some_shards(tmp_path / 'out').start() == [0, 2]
    assert keys(shards.pictures_of(2)) == ['4']


def test_results_of_another_run_are_kept_unless_asked(tmp_path):
    shards = some_shards(tmp_path / 'out')
    shards.start()
    result_file(shards.folder, 1).write_bytes(b'')
    other = some_shards(tmp_path / 'out', score_thr=0.5)
    with pytest.raises(ConfigError, match=r'results of another run \(score_thr 0.5, now None|score_thr None, now 0.5'):
        other.start()
    assert result_file(shards.folder, 1).exists()
    assert other.start(overwrite=True) == [0, 1, 2]


def test_a_folder_with_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / 'part-000000.parquet').write_text('mine')
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match='holds files of something else'):
            some_shards(tmp_path).start(overwrite)
    assert (tmp_path / 'part-000000.parquet').read_text() == 'mine'


def test_a_shard_has_what_the_inferencer_finds_and_broken_pictures_beside_it(tmp_path, pictures, weights):
    found = list_pictures(str(pictures))
    table = parquet(tmp_path / 'x.parquet', image=[(pictures / 'b.png').read_bytes(), b'damaged', None])
    found += list_pictures(table)
    shards = Shards(tmp_path / 'out', found, 10, {})
    shards.start()
    predictor = ShardPredictor(Job(CONFIG, weights, score_thr=0.5, threads=torch.get_num_threads()), str(shards.folder))
    predictor.predict_shard(0, shards.pictures_of(0))
    assert shards.finish() == 3
    broken = [json.loads(line) for line in (shards.folder / 'broken.jsonl').read_text().splitlines()]
    assert [entry['key'] for entry in broken] == [str(pictures / 'damaged.jpg'), f'{table}#1', f'{table}#2']
    assert 'damaged' in broken[0]['reason']
    result = pq.read_table(result_file(shards.folder, 0))
    assert json.loads(result.schema.metadata[b'classes']) == list(predictor.inferencer.model.dataset_meta['classes'])
    rows = result.to_pylist()
    paths = [str(pictures / name) for name in ('a.png', 'b.png', 'below/c.png')]
    assert [row['key'] for row in rows] == [*paths, f'{table}#0']
    expected = DetInferencer(CONFIG, weights, show_progress=False)(str(pictures / 'b.png'))['predictions'][0]
    kept = [i for i, score in enumerate(expected['scores']) if score >= 0.5]
    assert 0 < len(kept) < len(expected['scores'])
    for row in (rows[1], rows[3]):  # from its file, and from the Parquet file
        np.testing.assert_allclose(row['bboxes'], [expected['bboxes'][i] for i in kept], rtol=1e-6)
        np.testing.assert_allclose(row['scores'], [expected['scores'][i] for i in kept], rtol=1e-6)
        assert row['labels'] == [expected['labels'][i] for i in kept]
        assert (row['height'], row['width'], row['masks']) == (40, 60, None)


def command(pictures: Path, out: Path, weights: str) -> list[str]:
    options = ['--weights', weights, '--input', str(pictures), '--output', str(out), '--shard-size', '2', '--debug']
    return [sys.executable, str(ROOT / 'tools/batch_predict.py'), CONFIG, *options]


def union(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob('part-*.parquet')) for row in pq.read_table(path).to_pylist()]


def wait_until(condition, process: subprocess.Popen) -> None:
    """Wait until something has happened, while the process runs."""
    while not condition():
        assert process.poll() is None, 'the run ended before it could be interrupted'
        time.sleep(0.05)


@pytest.fixture
def many_pictures(tmp_path) -> Path:
    folder = tmp_path / 'many'
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(40):
        cv2.imwrite(str(folder / f'{i:02d}.png'), rng.integers(0, 255, (60, 80, 3), np.uint8))
    (folder / '07.png').write_bytes(b'damaged')
    return folder


@pytest.mark.slow
def test_a_killed_run_goes_on_and_equals_an_uninterrupted_one(tmp_path, many_pictures, weights):
    """The driver is killed, then a worker of the run that goes on."""
    pytest.importorskip('ray')
    psutil = pytest.importorskip('psutil')
    whole = tmp_path / 'whole'
    subprocess.run(command(many_pictures, whole, weights), check=True, cwd=ROOT)
    assert len(union(whole)) == 39

    out = tmp_path / 'killed'
    driver = subprocess.Popen(command(many_pictures, out, weights), cwd=ROOT)
    wait_until(lambda: list(out.glob('part-*.parquet')), driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    time.sleep(2)
    done = {path: path.stat().st_mtime_ns for path in out.glob('part-*.parquet')}
    assert 0 < len(done) < 20

    again = subprocess.Popen(command(many_pictures, out, weights), cwd=ROOT)
    wait_until(lambda: len(list(out.glob('part-*.parquet'))) > len(done), again)
    started = psutil.Process(again.pid).children(recursive=True)  # of no other run on this machine
    workers = [process for process in started if 'ShardPredictor' in ' '.join(process.cmdline())]
    assert workers, 'no worker was found'
    os.kill(workers[0].pid, signal.SIGKILL)
    assert again.wait(timeout=300) == 0
    assert union(out) == union(whole)
    assert (out / 'broken.jsonl').read_text() == (whole / 'broken.jsonl').read_text().replace(str(whole), str(out))
    # what was done before is not done twice
    assert {path: path.stat().st_mtime_ns for path in done} == done
