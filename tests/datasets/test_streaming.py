"""Samples from shards equal those of the files that the shards were made of; what is wrong is told."""

import contextlib
import json
import os
import shutil
import tarfile
from functools import partial
from pathlib import Path

import fsspec
import fsspec.implementations.memory
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdetlike.cli import make_shapes, write_shards
from mmdetlike.datasets import (
    CocoDataset,
    DataError,
    RepeatDataset,
    ShapesDataset,
    ShardSampler,
    StreamingDetDataset,
    shard_store,
)
from mmdetlike.datasets.shard_index import parse_index
from mmdetlike.datasets.streaming import WindowedOrder
from mmdetlike.errors import ConfigError

CLASSES = ShapesDataset.METAINFO['classes']
KEYS = st.sampled_from(['version', 'format', 'classes', 'shards', 'name', 'bytes', 'samples'])
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs', meta_keys=('img_id', 'flip')),
]


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    """A COCO data set of 23 pictures, and its shards of 5."""
    out = tmp_path_factory.mktemp('shapes')
    make_shapes.main([str(out), '--num-train', '23', '--num-val', '0', '--size', '64'])
    for kind in ('tar', 'parquet'):
        convert(out, out / kind, '--format', kind)
    return out


def convert(root: Path, out: Path, *options: str) -> None:
    ann_file = root / 'annotations' / 'instances_train.json'
    write_shards.main([str(ann_file), str(root / 'train'), str(out), '--shard-size', '5', *options])


def coco(root: Path, **kwargs) -> CocoDataset:
    prefix = dict(img=str(root / 'train'))
    ann_file = str(root / 'annotations' / 'instances_train.json')
    return CocoDataset(ann_file=ann_file, data_prefix=prefix, metainfo=dict(classes=CLASSES), **kwargs)


@pytest.mark.parametrize('kind', ['tar', 'parquet'])
def test_samples_are_those_of_the_coco_file(shapes, kind):
    files = coco(shapes, pipeline=PIPELINE)
    shards = StreamingDetDataset(str(shapes / kind), pipeline=PIPELINE)
    assert len(shards) == len(files) == 23
    assert shards.metainfo['classes'] == CLASSES
    sampler = ShardSampler(shards, seed=3)
    for index in sampler:  # carries a seed, so that both flip alike
        expected = files[index]
        found = shards[index]
        assert found['inputs'].equal(expected['inputs'])
        assert found['data_samples'].metainfo == expected['data_samples'].metainfo
        ours, theirs = found['data_samples'].gt_instances, expected['data_samples'].gt_instances
        assert ours.bboxes.tensor.equal(theirs.bboxes.tensor)
        assert ours.labels.equal(theirs.labels)
        assert np.array_equal(ours.masks.to_ndarray(), theirs.masks.to_ndarray())


def test_infos_keep_all_that_coco_has(shapes):
    files = coco(shapes)
    shards = StreamingDetDataset(str(shapes / 'tar'))
    for index in (0, 4, 5, -1):
        expected = files.get_data_info(index)
        found = shards.get_data_info(index)
        path = found.pop('img_path')
        assert path == f'{shapes}/tar/{Path(expected.pop("img_path")).name}'
        assert json.loads(json.dumps(found)) == json.loads(json.dumps(expected))


def test_classes_may_be_chosen_and_ordered(shapes):
    chosen = (CLASSES[2], CLASSES[0])
    files = CocoDataset(
        ann_file=str(shapes / 'annotations' / 'instances_train.json'), metainfo=dict(classes=chosen), test_mode=True
    )
    shards = StreamingDetDataset(str(shapes / 'tar'), metainfo=dict(classes=chosen))
    for index in range(23):
        assert shards.get_cat_ids(index) == files.get_cat_ids(index)


def test_indices_choose_samples(shapes):
    shards = StreamingDetDataset(str(shapes / 'tar'), indices=[21, 3, 4])
    assert [shards.get_data_info(index)['img_id'] for index in range(3)] == [3, 4, 21]
    assert shards.shard_sizes() == [2, 0, 0, 0, 1]
    assert sorted(ShardSampler(shards, seed=0)) == [0, 1, 2]


def test_filters_apply_when_shards_are_written(shapes, tmp_path):
    content = json.loads((shapes / 'annotations' / 'instances_train.json').read_text())
    content['annotations'] = [entry for entry in content['annotations'] if entry['image_id'] >= 20]
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_train.json').write_text(json.dumps(content))
    (tmp_path / 'train').symlink_to(shapes / 'train')
    convert(tmp_path, tmp_path / 'shards', '--filter-empty-gt')
    assert len(StreamingDetDataset(str(tmp_path / 'shards'))) == 3
    with pytest.raises(ConfigError, match='filtered when they are written, by --filter-empty-gt'):
        StreamingDetDataset(str(tmp_path / 'shards'), filter_cfg=dict(filter_empty_gt=True))


def test_shards_are_the_same_bytes_again_and_are_not_replaced(shapes, tmp_path):
    convert(shapes, tmp_path / 'again')
    for path in (shapes / 'tar').iterdir():
        assert path.read_bytes() == (tmp_path / 'again' / path.name).read_bytes()
    with pytest.raises(ConfigError, match='has a data set already'):
        convert(shapes, tmp_path / 'again')


def test_a_conversion_that_fails_leaves_no_data_set(shapes, tmp_path):
    shutil.copytree(shapes / 'annotations', tmp_path / 'annotations')
    shutil.copytree(shapes / 'train', tmp_path / 'train')
    (tmp_path / 'train' / '000013.png').unlink()
    with pytest.raises(ValueError, match=r'000013\.png: there is no such file'):
        convert(tmp_path, tmp_path / 'out')
    assert sorted(os.listdir(tmp_path / 'out')) == ['000000.tar', '000001.tar']
    with pytest.raises(FileNotFoundError, match=r'index\.json does not exist'):
        StreamingDetDataset(str(tmp_path / 'out'))


def test_webdataset_reads_the_names(shapes):
    with tarfile.open(shapes / 'tar' / '000001.tar') as archive:
        assert archive.getnames()[:2] == ['000000005.png', '000000005.json']


# --- the order -------------------------------------------------------------------------------------------------------


def test_an_epoch_visits_all_samples_a_few_shards_at_a_time():
    sizes = [10, 7, 0, 12, 9, 3, 11, 10]
    owner = [shard for shard, size in enumerate(sizes) for _ in range(size)]
    orders = [list(WindowedOrder(sizes, 3, seed, 'epoch')) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(sum(sizes)))
    spans = [[i for i, index in enumerate(orders[0]) if owner[index] == shard] for shard in range(len(sizes))]
    assert all(max(span) - min(span) < sum(sorted(sizes)[-3:]) for span in spans if span)
    assert any(max(span) - min(span) > len(span) for span in spans if span), 'shards of a window are not mixed'


def test_processes_read_disjoint_strides_and_skip(shapes, monkeypatch):
    dataset = StreamingDetDataset(str(shapes / 'tar'))
    whole = list(ShardSampler(dataset, seed=5, window=2))
    halves = []
    for rank in range(2):
        monkeypatch.setattr('mmdetlike.datasets.samplers.get_dist_info', lambda rank=rank: (rank, 2))
        sampler = ShardSampler(dataset, seed=5, window=2)
        halves.append(list(sampler))
        sampler.skip(4)
        assert list(sampler) == halves[-1][4:]
    assert [index for pair in zip(*halves) for index in pair] == [*whole, whole[0]]


def test_workers_do_not_change_what_is_seen(shapes):
    dataset = StreamingDetDataset(str(shapes / 'parquet'), pipeline=PIPELINE)

    def seen(num_workers: int) -> list:
        loader = torch.utils.data.DataLoader(
            dataset, 4, sampler=ShardSampler(dataset, seed=1), num_workers=num_workers, collate_fn=list
        )
        samples = [item['data_samples'] for batch in loader for item in batch]
        return [(sample.img_id, sample.flip) for sample in samples]

    dataset[0]  # the parent has read from a shard before it forks
    assert seen(0) == seen(2)


def test_order_of_shards_without_shuffling(shapes):
    dataset = StreamingDetDataset(str(shapes / 'tar'))
    assert list(ShardSampler(dataset, shuffle=False, seed=0)) == list(range(23))


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(shapes):
    """The shards in an object store, that of fsspec in memory."""
    store = fsspec.filesystem('memory')
    store.put(f'{shapes}/tar/', '/bucket/train/', recursive=True)
    yield 'memory://bucket/train'
    store.rm('/bucket', recursive=True)


def test_copies_of_shards_are_few(address, shapes, tmp_path):
    dataset = StreamingDetDataset(address, cache_dir=str(tmp_path), max_cached=2, pipeline=PIPELINE)
    local = StreamingDetDataset(str(shapes / 'tar'), pipeline=PIPELINE)
    most = 0
    for index in ShardSampler(dataset, seed=0, window=2):
        assert dataset[index]['inputs'].equal(local[index]['inputs'])
        most = max(most, len(list(tmp_path.rglob('0*.tar'))))
    assert most == 2
    assert not list(tmp_path.rglob('*.tmp'))


def test_a_copy_that_another_process_removed_is_made_again(address, tmp_path):
    dataset = StreamingDetDataset(address, cache_dir=str(tmp_path))
    before = dataset.get_data_info(0)
    for path in tmp_path.rglob('*.tar'):
        path.unlink()
    assert dataset.get_data_info(0) == before


class Unreliable:
    """A call that fails a number of times, as clients of object stores do: with errors that are no OSError."""

    def __init__(self, call, failures: int) -> None:
        self.call, self.failures = call, failures

    def __call__(self, *args, **kwargs):
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeError('payload is not completed')
        return self.call(*args, **kwargs)


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.setattr(shard_store, '_PAUSE', 0)
    return fsspec.implementations.memory.MemoryFileSystem


@pytest.mark.parametrize('name', ['cat_file', 'get_file'])
def test_a_network_that_fails_now_and_then_ends_no_training(name, address, memory, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, name, Unreliable(partial(getattr(memory, name), fsspec.filesystem('memory')), 3))
    assert StreamingDetDataset(address, cache_dir=str(tmp_path)).get_data_info(0)['instances']


@pytest.mark.parametrize(
    'name, sentence',
    [
        ('cat_file', 'train/index.json cannot be read: payload is not completed, 4 times'),
        ('get_file', r'train/000000.tar cannot be copied to .*: payload is not completed, 4 times'),
    ],
)
def test_a_network_that_fails_for_long_is_told(name, sentence, address, memory, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, name, Unreliable(None, 99))
    with pytest.raises(DataError, match=sentence):
        StreamingDetDataset(address, cache_dir=str(tmp_path)).get_data_info(0)
    assert not [path for path in tmp_path.rglob('*') if path.is_file() and path.suffix != '.lock']


def test_an_address_needs_a_place_for_copies(address):
    with pytest.raises(ConfigError, match='set cache_dir to a folder'):
        StreamingDetDataset(address)


def test_an_address_of_an_unknown_kind(tmp_path):
    with pytest.raises(ConfigError, match=r"shards='nowhere://x': fsspec cannot open this address"):
        StreamingDetDataset('nowhere://x', cache_dir=str(tmp_path))


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(shapes, tmp_path):
    shutil.copytree(shapes / 'tar', tmp_path / 'copy')
    return tmp_path / 'copy'


def test_a_truncated_shard_is_named(copy):
    content = (copy / '000001.tar').read_bytes()
    (copy / '000001.tar').write_bytes(content[:3000])
    dataset = StreamingDetDataset(str(copy))
    with pytest.raises(DataError, match=r'000001\.tar has 3000 bytes, but \d+ according to index\.json'):
        dataset.get_data_info(5)


def test_a_missing_shard_is_named(copy):
    (copy / '000001.tar').unlink()
    with pytest.raises(FileNotFoundError, match=r'000001\.tar does not exist, but index\.json names it'):
        StreamingDetDataset(str(copy)).get_data_info(5)


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ('', 'expected the index of a sharded data set'),
        ('[]', 'expected the index of a sharded data set'),
        ('{"version": 2}', 'its version is 2, this release reads version 1'),
        ('{"version": 1, "format": "zip", "classes": [], "shards": []}', "the format 'zip' is unknown"),
        ('{"version": 1, "format": "tar", "classes": [], "shards": [3]}', 'expected a format, a list of classes'),
        (
            '{"version": 1, "format": "tar", "classes": [], "shards": [{"name": "a", "bytes": 1, "samples": 1.5}]}',
            'expected a format, a list of classes',
        ),
        (
            '{"version": 1, "format": "tar", "classes": [], "shards": [{"name": "../a", "bytes": 1, "samples": 1}]}',
            'expected a format, a list of classes',
        ),
    ],
)
def test_a_damaged_index_is_named(copy, content, sentence):
    (copy / 'index.json').write_text(content)
    with pytest.raises(DataError, match=sentence):
        StreamingDetDataset(str(copy))


def test_a_damaged_picture_is_replaced_in_training(copy, tmp_path):
    content = (copy / '000000.tar').read_bytes()
    start = content.index(b'\x89PNG')
    (copy / '000000.tar').write_bytes(content[: start + 60] + bytes(200) + content[start + 260 :])
    dataset = StreamingDetDataset(str(copy), pipeline=PIPELINE)
    assert dataset[0]['data_samples'].img_id != 0
    assert list(dataset.broken_images) == [f'{copy}/000000.png']


@settings(deadline=None, max_examples=200)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(KEYS, x)))
def test_whatever_an_index_holds_is_read_or_refused(content):
    with contextlib.suppress(DataError):
        parse_index(json.dumps(content).encode(), 'index.json')


def test_a_damaged_page_of_parquet_is_told_from_a_whole_one(shapes, tmp_path):
    shutil.copytree(shapes / 'parquet', tmp_path / 'copy')
    path = tmp_path / 'copy' / '000000.parquet'
    content = path.read_bytes()
    start = content.index(b'\x89PNG')
    path.write_bytes(content[: start + 60] + bytes(9) + content[start + 69 :])
    dataset = StreamingDetDataset(str(tmp_path / 'copy'), pipeline=PIPELINE)
    assert dataset[0]['data_samples'].img_id >= 5, 'the pictures of a group of rows share its checksum'
    assert 'column image of row 0 is damaged' in next(iter(dataset.broken_images.values()))


def test_foreign_annotations_are_named(copy):
    with tarfile.open(copy / '000000.tar', 'w') as archive:
        for name in ('a.jpg', 'a.json'):
            (copy / name).write_text('{"label": 3}')
            archive.add(copy / name, name)
    index = json.loads((copy / 'index.json').read_text())
    index['shards'][0] = dict(name='000000.tar', bytes=(copy / '000000.tar').stat().st_size, samples=1)
    (copy / 'index.json').write_text(json.dumps(index))
    with pytest.raises(DataError, match=r'000000\.tar: sample 0 has the annotations .*label.*; expected what'):
        StreamingDetDataset(str(copy)).get_data_info(0)


def test_the_sampler_needs_shards(shapes):
    with pytest.raises(ConfigError, match='needs a StreamingDetDataset, got RepeatDataset'):
        ShardSampler(RepeatDataset(StreamingDetDataset(str(shapes / 'tar')), 2))
