"""tools/batch_predict.py: every picture once, whenever it is killed."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mmdetlike.apis import Detector
from mmdetlike.apis.batch import picture_paths
from mmdetlike.cli.batch_predict import main
from mmdetlike.datasets.errors import DataError
from mmdetlike.errors import ConfigError
from tests.apis.helpers import picture
from tests.export.helpers import deployed_for_pictures
from tests.utils import ROOT

parquet = pytest.importorskip('pyarrow.parquet', reason='pip install .[ray]')


@pytest.fixture(scope='module')
def artifact(tmp_path_factory):
    return deployed_for_pictures(tmp_path_factory.mktemp('batch') / 'retinanet')


@pytest.fixture
def pictures(tmp_path):
    import cv2

    folder = tmp_path / 'pictures'
    folder.mkdir()
    for index in range(12):
        cv2.imwrite(str(folder / f'{index:02d}.png'), picture(index, 64, 64))
    (folder / '05.png').write_bytes(b'broken')
    return folder


def rows(folder) -> list[dict]:
    return [row for path in sorted(folder.glob('part-*.parquet')) for row in parquet.read_table(path).to_pylist()]


def assert_complete(folder, pictures, artifact) -> None:
    found = rows(folder)
    paths = [str(path) for path in sorted(pictures.iterdir()) if path.stem != '05']
    assert [row['path'] for row in found] == paths
    expected = Detector.load(artifact, show_progress=False)(paths)['predictions']
    assert sum(len(entry['labels']) for entry in expected) > 0
    for row, entry in zip(found, expected):
        assert row['labels'] == entry['labels']
        np.testing.assert_allclose(row['scores'], entry['scores'], atol=1e-5)
        np.testing.assert_allclose(np.reshape(row['bboxes'], (-1, 4)), np.reshape(entry['bboxes'], (-1, 4)), atol=1e-3)
    (broken,) = [json.loads(line) for path in folder.glob('broken-*') for line in path.read_text().splitlines()]
    assert broken['path'] == str(pictures / '05.png')
    assert '05.png' in broken['error']


def command(artifact, pictures, out, *options) -> list[str]:
    return [*map(str, (artifact, '--input', pictures, '--output', out, '--shard-size', 2, *options))]


def test_finished_shards_are_left_alone(artifact, pictures, tmp_path, capsys):
    arguments = command(artifact, pictures, tmp_path / 'out', '--workers', 0)
    main(arguments)
    assert_complete(tmp_path / 'out', pictures, artifact)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').glob('part-*')}
    (tmp_path / 'out/part-000003.parquet').unlink()
    main(arguments)
    assert '12 pictures in 6 shards, 5 of them finished' in capsys.readouterr().out
    assert_complete(tmp_path / 'out', pictures, artifact)
    changed = [path.name for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert changed == ['part-000003.parquet']


def test_another_job_in_the_folder_is_refused(artifact, pictures, tmp_path):
    main(command(artifact, pictures, tmp_path / 'out', '--workers', 0))
    (pictures / '00.png').unlink()
    with pytest.raises(ConfigError, match=r'holds the predictions of another job, which differs in pictures, sha256'):
        main(command(artifact, pictures, tmp_path / 'out', '--workers', 0))


def test_inputs_come_in_several_forms(pictures, tmp_path):
    import pyarrow

    expected = sorted(map(str, pictures.iterdir()))
    assert picture_paths(str(pictures)) == picture_paths(f'{pictures}/*.png') == expected
    parquet.write_table(pyarrow.table(dict(path=expected)), tmp_path / 'list.parquet')
    assert picture_paths(str(tmp_path / 'list.parquet')) == expected
    (pictures / 'coco.json').write_text(json.dumps(dict(images=[dict(file_name='00.png')])))
    assert picture_paths(str(pictures / 'coco.json')) == expected[:1]
    (pictures / 'coco.json').write_text('[]')
    with pytest.raises(DataError, match='is no COCO file: expected a list images with file_name'):
        picture_paths(str(pictures / 'coco.json'))
    with pytest.raises(FileNotFoundError, match='gone has no pictures: expected a folder'):
        picture_paths(str(tmp_path / 'gone'))


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 1])
def test_killed_anywhere_it_goes_on(artifact, pictures, tmp_path, workers):
    if workers and importlib.util.find_spec('ray') is None:
        pytest.skip('pip install .[ray]')
    out = tmp_path / 'out'
    run = [
        sys.executable,
        str(ROOT / 'tools/batch_predict.py'),
        *command(artifact, pictures, out, '--workers', workers),
    ]
    process = subprocess.Popen(run, cwd=ROOT, start_new_session=True)
    deadline = time.monotonic() + 240
    while not list(out.glob('part-*')) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(out.glob('part-*'))
    subprocess.run(run, cwd=ROOT, check=True, timeout=300)
    assert_complete(out, pictures, artifact)
