"""tools/misc/split_coco.py: parts that are disjoint, complete, the same each time, and readable by a dataset."""

import importlib.util
import json
from pathlib import Path

import pytest

from mmdetlike.datasets import CocoDataset
from mmdetlike.datasets.errors import DataError

PATH = Path(__file__).parents[2] / 'tools' / 'misc' / 'split_coco.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('split_coco', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ann_file(tmp_path):
    images = [dict(id=i, file_name=f'{i}.jpg', width=40, height=30) for i in range(20)]
    rows = [dict(id=i, image_id=i // 2, category_id=1, bbox=[1, 1, 5, 5]) for i in range(40)]
    content = dict(images=images, annotations=rows, categories=[dict(id=1, name='cat')])
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(content))
    return path


def test_parts_are_disjoint_and_complete(tool, ann_file, tmp_path):
    tool.main([str(ann_file), str(tmp_path / 'semi'), '--labeled-percent', '10', '25', '--fold', '2'])
    names = sorted(path.name for path in (tmp_path / 'semi').iterdir())
    parts = ('.json', '-unlabeled.json')
    assert names == sorted(f'train.{fold}@{percent}{part}' for fold in (1, 2) for percent in (10, 25) for part in parts)
    chosen = []
    for fold in (1, 2):
        labeled, unlabeled = (json.loads((tmp_path / 'semi' / f'train.{fold}@25{part}').read_text()) for part in parts)
        ids = [[image['id'] for image in part['images']] for part in (labeled, unlabeled)]
        assert len(ids[0]) == 5 and sorted(ids[0] + ids[1]) == list(range(20))
        assert sorted(row['image_id'] for row in labeled['annotations']) == sorted(ids[0] * 2)
        assert unlabeled['annotations'] == [] and unlabeled['categories'] == labeled['categories']
        chosen.append(ids[0])
    assert chosen[0] != chosen[1]


def test_parts_are_the_same_each_time_and_can_be_read(tool, ann_file, tmp_path):
    for out in ('a', 'b'):
        tool.main([str(ann_file), str(tmp_path / out), '--labeled-percent', '10', '--fold', '1'])
    for name in ('train.1@10.json', 'train.1@10-unlabeled.json'):
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()
        dataset = CocoDataset(ann_file=str(tmp_path / 'a' / name), metainfo=dict(classes=('cat',)))
        assert len(dataset) == (18 if 'unlabeled' in name else 2)


def test_an_empty_part_is_refused(tool, ann_file, tmp_path):
    with pytest.raises(DataError, match='--labeled-percent 1 of 20 images is 0; both parts need one at least'):
        tool.main([str(ann_file), str(tmp_path), '--labeled-percent', '1'])
