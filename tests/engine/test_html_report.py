"""A training as one HTML page."""

import json
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mmdetlike.cli.report import main
from mmdetlike.datasets.errors import DataError
from mmdetlike.engine.html_report import metric_row, write_report
from mmdetlike.errors import ConfigError
from mmdetlike.utils.outputs import OutputError

ROWS = [
    dict(loss=2.0, lr=0.1, time=0.5, data_time=0.1, epoch=1, iter=10, step=10),
    {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_s': -1.0, 'coco/star_precision': 0.5, 'time': 0.1, 'step': 1},
    dict(loss=1.0, lr=0.1, time=0.3, data_time=0.1, epoch=2, iter=20, step=20),
    {'coco/bbox_mAP': 0.2, 'coco/bbox_mAP_s': -1.0, 'coco/star_precision': 0.75, 'time': 0.1, 'step': 2},
]
LOG = f"""2026/11/29 - mmengine - INFO -
{'-' * 60}
System environment:
    sys.platform: linux
    Python: 3.11 <main>
{'-' * 60}
"""


class Texts(HTMLParser):
    """The cells of tables, headings, and addresses of pictures and scripts."""

    def __init__(self):
        super().__init__()
        self.cells, self.sources, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ('src', 'href')]

    def handle_data(self, data):
        if self.open and self.open[-1] in ('td', 'h1', 'h2', 'pre', 'p'):
            self.cells.append(data)


@pytest.fixture
def work_dir(tmp_path):
    folder = tmp_path / 'my <run>'
    run = folder / '20261129_000000'
    (run / 'vis_data').mkdir(parents=True)
    (run / 'vis_data/scalars.json').write_text('\n'.join(json.dumps(row) for row in ROWS))
    (run / 'vis_data/config.py').write_text("model = dict(type='RetinaNet')  # 1 < 2 & 3\n")
    (run / 'run.log').write_text(LOG)
    cv2.imwrite(str(folder / 'curves.png'), np.zeros((8, 8, 3), np.uint8))
    (folder / 'class_report.csv').write_text('class,F1\nstar,0.9\n')
    return folder


def test_the_page_tells_what_the_folder_holds(work_dir, capsys):
    main([str(work_dir)])
    path = work_dir / 'report.html'
    assert f'written to {path}' in capsys.readouterr().out
    parser = Texts()
    parser.feed(path.read_text())
    text = ' '.join(' '.join(parser.cells).split())
    for part in (
        'Training my <run>',
        'ended in epoch 2 with a loss of 1; evaluations: 2.',
        'coco/bbox_mAP 0.2000 0.2500 1',
        'By size coco/bbox_mAP_s - - 1',
        'By class coco/star_precision 0.7500 0.7500 2',
        'star 0.9',
        'an iteration 0.4000 0.5000',
        'Python: 3.11 <main>',
        "model = dict(type='RetinaNet') # 1 < 2 & 3",
    ):
        assert part in text
    # it needs nothing but itself
    assert len(parser.sources) == 1
    assert parser.sources[0].startswith('data:image/png;base64,')


def test_what_is_no_training_is_named(tmp_path, work_dir):
    with pytest.raises(FileNotFoundError, match='gone is no folder: expected the work folder of a training'):
        write_report(tmp_path / 'gone')
    with pytest.raises(ConfigError, match=r'expected it to contain \*/vis_data/scalars.json'):
        write_report(tmp_path)
    (work_dir / '20261129_000000/vis_data/scalars.json').write_text('x\n{}\n')
    with pytest.raises(DataError, match=r'line 1: expected a JSON object'):
        write_report(work_dir)


def test_a_damaged_table_is_named(work_dir):
    (work_dir / 'class_report.csv').write_bytes(b'\xff\xfe,F1\n')
    with pytest.raises(DataError, match=r'class_report.csv is damaged \(.*\): remove it'):
        write_report(work_dir)
    assert not (work_dir / 'report.html').exists()


def test_where_nothing_can_be_written_is_told(work_dir):
    with pytest.raises(OutputError, match='is a folder: expected the name of a file'):
        write_report(work_dir, work_dir)
    with pytest.raises(OutputError, match=r'cannot be a folder for outputs: .*run.log is a file'):
        write_report(work_dir, work_dir / '20261129_000000/run.log/report.html')


def test_values_that_are_no_numbers_are_never_the_best():
    rows = [{'a': float('nan'), 'step': 1}, {'a': 0.5, 'step': 2}, {'a': 0.25, 'step': 3}, {'a': None, 'step': 4}]
    assert metric_row('a', rows) == ['a', '0.2500', '0.5000', '2']
