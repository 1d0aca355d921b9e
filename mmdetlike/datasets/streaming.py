"""Data beyond a disk: samples from shards, which a sampler visits a few at a time."""

import bisect
import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence, Sized

import numpy as np
import torch

from ..errors import ConfigError
from ..registry import DATA_SAMPLERS, DATASETS
from ..utils.colors import distinct_colors
from ..utils.data_root import rooted
from .annotations import match_classes, shortened
from .base import BaseDetDataset
from .errors import DataError
from .samplers import EpochSampler
from .seeding import stable_hash
from .shard_formats import check_shard, read_annotations, read_picture
from .shard_index import INDEX
from .shard_store import ShardStore

_TRIES = 3  # a copy of a shard may be removed by another process between being found and being opened


@DATASETS.register_module()
class StreamingDetDataset(BaseDetDataset):
    """Pictures with boxes, masks and keypoints from shards, tar files (WebDataset) or Parquet files.

    The shards are written by `tools/dataset_converters/to_shards.py` from a COCO file; they hold pictures and
    annotations, so that memory and disk need room for a few of them only. A sample is read when it is asked for, by its
    index: seeds, samplers, wrappers and resuming work as with other datasets. Use `ShardSampler`, which visits a few
    shards at a time, where shards are copied from an address.

    Args:
        shards: Folder of the shards, with its `index.json`: a path, or an address that fsspec opens (`s3://...`).
        cache_dir: Folder on a local disk for copies of the shards in use, needed for addresses.
        max_cached: Copies that are kept there. It should be more than twice the `window` of the sampler.
        metainfo: ``dict(classes=(...))`` for some of the classes, or for another order of them; by default all.
        return_classes: Put the class names into the sample, as ``text``.

    The other arguments are those of ``BaseDetDataset``. There is nothing to filter: the shards have the pictures that
    were chosen when they were written. With ``indices``, samples come in the order of the shards.

    Raises:
        FileNotFoundError: There is no such folder, or a shard of it is missing.
        ConfigError: ``cache_dir`` is needed, or an argument asks for something that shards don't have.
        DataError: The index or a shard is damaged, or has none of the classes.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        shards: str,
        *,
        cache_dir: str | None = None,
        max_cached: int = 64,
        return_classes: bool = False,
        **kwargs,
    ) -> None:
        if kwargs.get('proposal_file') is not None:
            raise ConfigError('proposal_file is not read from shards: use CocoDataset for training on proposals.')
        if not isinstance(shards, (str, os.PathLike)):
            raise ConfigError(f'shards={shards!r} should be a folder or the address of one.')
        folder = os.fspath(shards)
        if '://' not in folder:
            folder = rooted(os.path.join(kwargs.get('data_root') or '', os.path.expanduser(folder)))
        self.store = ShardStore(folder, cache_dir, max_cached)
        self.adds_classes = return_classes
        # what would be serialized is a range of numbers
        super().__init__(**{**kwargs, 'serialize_data': False})

    @property
    def source(self) -> str:
        """The name of this dataset in messages."""
        return self.store.folder

    def load_data_list(self) -> range:
        """The numbers of all samples, which stand for their data infos: those are in the shards."""
        self.index = self.store.read_index()
        if not self._metainfo.get('classes'):
            names = self.index.classes
            self._metainfo.update(classes=names, palette=distinct_colors(len(names)))
        labels = match_classes(self.metainfo['classes'], self.index.classes, f'{self.source}/{INDEX}')
        # the label of each class of the shards, None of those that are not asked for
        self._labels = [labels.get(name) for name in self.index.classes]
        self._ends = list(itertools.accumulate(entry.samples for entry in self.index.shards))
        self._checked: set[int] = set()
        return range(self._ends[-1] if self._ends else 0)

    def full_init(self) -> None:
        """Read the index, and choose samples if ``indices`` says so."""
        if not self._fully_initialized:
            super().full_init()
            if not isinstance(self.data_list, range):
                self.data_list = sorted(self.data_list)

    def filter_data(self) -> range:
        """All samples.

        Raises:
            ConfigError: ``filter_cfg`` asks to leave some out.
        """
        if not self.test_mode and any(self._filter_config().values()):
            raise ConfigError(
                f'filter_cfg={self.filter_cfg}: shards are filtered when they are written, by --filter-empty-gt and '
                f'--min-size of tools/dataset_converters/to_shards.py; leave filter_cfg out.'
            )
        return self.data_list

    def shard_sizes(self) -> list[int]:
        """The number of samples of each shard that this dataset has, in its order."""
        if not self._fully_initialized:
            self.full_init()
        bounds = [bisect.bisect_left(self.data_list, end) for end in [0, *self._ends]]
        return [end - start for start, end in itertools.pairwise(bounds)]

    def get_data_info(self, idx: int) -> dict:
        """Data info of sample ``idx``, read from its shard without the picture.

        Raises:
            DataError: The shard is damaged.
        """
        if not self._fully_initialized:
            self.full_init()
        idx = range(len(self.data_list))[idx]
        shard, row = self._locate(idx)
        content = self._read(shard, row, read_annotations)
        info = self._data_info(content, f'{self.source}/{self.index.shards[shard].name}: sample {row}')
        return {**info, 'sample_idx': idx}

    def pipeline_input(self, idx: int) -> dict:
        """The dict that enters the pipeline: the data info, settings of the dataset, and the picture, `img_bytes`."""
        results = super().pipeline_input(idx)
        _, results['img_bytes'] = self._read(*self._locate(idx), read_picture)
        if self.adds_classes:
            results.update(text=self.metainfo['classes'], custom_entities=True)
        return results

    def _locate(self, idx: int) -> tuple[int, int]:
        """The shard of a sample, and the sample's index in it."""
        number = self.data_list[idx]
        shard = bisect.bisect_right(self._ends, number)
        return shard, number - self._ends[shard] + self.index.shards[shard].samples

    def _read(self, shard: int, row: int, read: Callable):
        entry = self.index.shards[shard]
        for _ in range(_TRIES):
            try:
                path = self.store.local_file(entry)
                if shard not in self._checked:
                    check_shard(self.index.format, path, entry.samples)
                    self._checked.add(shard)
                return read(self.index.format, path, row)
            except FileNotFoundError as error:
                missing = error
        raise missing

    def _data_info(self, content: bytes, source: str) -> dict:
        """The data info that the annotations of a sample say, with labels of ours."""
        try:
            info = json.loads(content)
            path = f'{self.source}/{info["file_name"]}'
            size = {'height': int(info['height']), 'width': int(info['width'])}
            instances = [self._instance(instance) for instance in info['instances']]
            img_id = info['img_id']
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(
                f'{source} has the annotations {shortened(content)}; expected what to_shards.py writes ({error!r}).'
            ) from error
        known = [instance for instance in instances if instance['bbox_label'] is not None]
        return {'img_path': path, 'img_id': img_id, 'seg_map_path': None, **size, 'instances': known}

    def _instance(self, instance: dict) -> dict:
        x1, y1, x2, y2 = instance['bbox']
        if not np.isfinite(instance['bbox']).all() or x2 <= x1 or y2 <= y1 or instance['bbox_label'] < 0:
            raise ValueError(f'instance {shortened(instance)}')
        return {'ignore_flag': 0, **instance, 'bbox_label': self._labels[instance['bbox_label']]}


class WindowedOrder(Sequence):
    """An order of samples that visits a few shards at a time: indices within a window of shards are shuffled.

    Only the window at hand is in memory.

    Args:
        sizes: Samples of each shard; indices number them shard by shard.
        window: Shards of a window.
        key: What the order depends on.
    """

    def __init__(self, sizes: Sequence[int], window: int, *key: int | str) -> None:
        self.sizes = sizes
        self.window = window
        self.key = key
        self._starts = [0, *itertools.accumulate(sizes)]
        order = torch.randperm(len(sizes), generator=self._generator('shards')).tolist()
        self._windows = [order[start : start + window] for start in range(0, len(order), window)]
        self._ends = list(itertools.accumulate(sum(sizes[shard] for shard in shards) for shards in self._windows))
        self._current = -1
        self._indices: list[int] = []

    def _generator(self, *part: int | str) -> torch.Generator:
        return torch.Generator().manual_seed(stable_hash(*self.key, *part))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, position: int) -> int:
        position = range(len(self))[position]
        window = bisect.bisect_right(self._ends, position)
        if window != self._current:
            self._indices = list(self._shuffled(window))
            self._current = window
        return self._indices[position - self._ends[window] + len(self._indices)]

    def _shuffled(self, window: int) -> Iterator[int]:
        shards = self._windows[window]
        indices = [index for shard in shards for index in range(self._starts[shard], self._starts[shard + 1])]
        order = torch.randperm(len(indices), generator=self._generator('window', window))
        return (indices[place] for place in order.tolist())


@DATA_SAMPLERS.register_module()
class ShardSampler(EpochSampler):
    """Every sample of a `StreamingDetDataset` once an epoch, a few shards at a time.

    Each epoch has an order of shards; of each ``window`` of them the samples are shuffled together. So at any time all
    processes and their workers read from about ``window`` shards, disjoint samples of them.

    Args:
        dataset: The dataset.
        shuffle: Draw a new order each epoch; otherwise samples come in the order of the shards.
        seed: Seed of the order and of the samples, the same in all processes. Drawn and shared if None.
        round_up: Repeat samples from the start so that all processes get equally many.
        window: Shards whose samples are mixed.

    Raises:
        ConfigError: The dataset has no shards, or ``window`` is no positive number.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
        window: int = 8,
    ) -> None:
        if not hasattr(dataset, 'shard_sizes'):
            raise ConfigError(
                f'ShardSampler needs a StreamingDetDataset, got {type(dataset).__name__}: use DefaultSampler.'
            )
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise ConfigError(f'window={window!r} should be a number of shards, at least 1.')
        self.sizes = dataset.shard_sizes()
        self.shuffle = shuffle
        self.window = window
        super().__init__(dataset, sum(self.sizes), seed, round_up)

    def order(self, epoch: int) -> Sequence[int]:
        """All indices, in an order of the epoch if they are shuffled."""
        if not self.shuffle:
            return range(sum(self.sizes))
        return WindowedOrder(self.sizes, self.window, self.seed, epoch)
