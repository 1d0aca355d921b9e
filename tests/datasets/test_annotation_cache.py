"""Annotations that were loaded before: the same as read anew, and read anew whenever something has changed."""

import json
import os
import pickle

import pytest

from mmdetlike.arguments import parameters_of
from mmdetlike.datasets import CocoDataset, annotation_cache, coco
from mmdetlike.datasets.annotation_cache import AnnotationCache
from mmdetlike.datasets.coco import CACHED_BY
from tests.datasets.benchmark_annotations import write_annotations

CLASSES = tuple(f'class {i}' for i in range(80))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MMDETLIKE_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr(coco, 'SMALLEST_FILE', 0)
    return tmp_path / 'cache'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'instances.json'
    write_annotations(path, images=6, objects=20)
    content = json.loads(path.read_text())
    content['annotations'][0]['bbox'] = [0, 0, 0, 0.5]  # is skipped and told
    path.write_text(json.dumps(content))
    return path


def dataset(path, **options):
    return CocoDataset(ann_file=str(path), metainfo=dict(classes=CLASSES), pipeline=[], **options)


def infos(loaded):
    return [loaded.get_data_info(i) for i in range(len(loaded))]


def entries(cache):
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


@pytest.fixture
def reads(monkeypatch):
    """The files that were read, not restored."""
    found = []
    read_file = CocoDataset.read_file
    monkeypatch.setattr(CocoDataset, 'read_file', lambda self: found.append(self.ann_file) or read_file(self))
    return found


def test_a_second_start_restores_the_same_and_tells_the_same(cache, file, reads, caplog):
    first = dataset(file)
    second = dataset(file)
    assert len(reads) == 1
    assert infos(second) == infos(first) and len(first) == 6
    for name in ('cat_ids', 'cat2label', 'cat_img_map', 'remark', 'metainfo', 'skipped'):
        assert getattr(second, name) == getattr(first, name), name
    assert second.skipped == 1
    assert second.report.summary() == first.report.summary()


def test_another_process_may_copy_it(cache, file):
    dataset(file)
    restored = dataset(file)
    assert infos(pickle.loads(pickle.dumps(restored))) == infos(restored)


@pytest.mark.parametrize('change', ['content', 'time', 'option', 'classes', 'code'])
def test_whatever_changes_is_read_anew(cache, file, reads, change, monkeypatch):
    count = len(dataset(file, filter_cfg=dict(min_size=10)))
    options = dict(filter_cfg=dict(min_size=10))
    found = file.stat()
    if change == 'content':
        content = json.loads(file.read_text())
        content['images'].pop()
        file.write_text(json.dumps(content))
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
        count -= 1
    elif change == 'time':
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    elif change == 'option':
        options = dict(test_mode=True)
    elif change == 'code':
        monkeypatch.setattr(annotation_cache, '_code_version', lambda: [('coco.py', 1, 1)])
    if change == 'classes':
        again = CocoDataset(ann_file=str(file), metainfo=dict(classes=CLASSES[::-1]), pipeline=[], **options)
        assert again.cat2label[0] == 79
    else:
        assert len(dataset(file, **options)) == count
    assert len(reads) == 2


# they decide nothing, are part of others, or keep a dataset from being cached
WITHOUT_INFLUENCE = {
    *('pipeline', 'max_refetch', 'lazy_init', 'data_root', 'indices', 'serialize_data', 'proposal_file'),
    *('backend_args', 'file_client_args'),
}


def test_each_argument_is_told_apart_or_has_no_influence():
    assert set(parameters_of(CocoDataset)) == set(CACHED_BY) | WITHOUT_INFLUENCE


def test_further_keys_of_annotations_are_read_anew(cache, file, reads):
    dataset(file)
    dataset(file, extra_annotation_keys=['id'])
    assert len(reads) == 2


def test_a_damaged_entry_is_read_anew(cache, file, reads):
    expected = infos(dataset(file))
    for name in ('rest.pickle', 'data_bytes.npy'):
        (entry,) = cache.iterdir()
        (entry / name).write_bytes((entry / name).read_bytes()[:50])
        assert infos(dataset(file)) == expected
    assert len(reads) == 3
    assert infos(dataset(file)) == expected
    assert len(reads) == 3


def test_an_entry_of_another_user_is_not_read(cache, file, reads, monkeypatch):
    dataset(file)
    monkeypatch.setattr(os, 'getuid', lambda: 12345)
    dataset(file)
    assert len(reads) == 2


def test_what_cannot_be_kept_is_told_and_loads(cache, file, monkeypatch):
    cache.write_text('a file in place of the folder')
    told = []
    monkeypatch.setattr(annotation_cache, 'warn_once', lambda message, key: told.append(message))
    assert len(dataset(file)) == 6
    assert len(told) == 1 and f'cannot be kept in {cache} for the next start' in told[0]


def test_no_cache_if_none_is_wanted_or_worth_it(cache, file, reads, monkeypatch):
    monkeypatch.setattr(coco, 'SMALLEST_FILE', 10**9)
    dataset(file)
    monkeypatch.setattr(coco, 'SMALLEST_FILE', 0)
    dataset(file, indices=[1, 2])
    dataset(file, serialize_data=False)
    monkeypatch.setenv('MMDETLIKE_CACHE', 'off')
    dataset(file)
    assert entries(cache) == [] and len(reads) == 4


def test_a_subclass_with_a_life_of_its_own_is_not_cached(cache, file):
    class Counting(CocoDataset):
        def load_data_list(self):
            self.times = getattr(self, 'times', 0) + 1
            return super().load_data_list()

    Counting(ann_file=str(file), metainfo=dict(classes=CLASSES), pipeline=[])
    assert entries(cache) == []


def test_old_entries_go(cache, file, monkeypatch):
    monkeypatch.setattr(annotation_cache, 'KEPT', 2)
    for size in (1, 2, 3):
        entry = AnnotationCache(str(file), dict(min_size=size))
        entry.write(dict(data_bytes=b'', number=size))
        os.utime(entry.entry, (size, size))
    assert len(entries(cache)) == 2
    assert AnnotationCache(str(file), dict(min_size=1)).read() is None
    assert AnnotationCache(str(file), dict(min_size=3)).read()['number'] == 3
