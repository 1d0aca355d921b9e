"""Writing a dataset of pictures on disk as shards."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mmdetlike.errors import ConfigError
from mmdetlike.utils.whole_files import whole_file, write_whole

from .base import BaseDetDataset
from .classes_from_file import ClassesFromFile
from .coco import CocoDataset
from .coco_file import CocoFile
from .errors import DataError
from .interchange import plain, relative_path
from .shard_formats import RawSample, write_parquet, write_tar
from .shard_index import INDEX, ShardEntry, ShardIndex
from .transforms.image_io import read_content

WRITERS: dict[str, Callable] = {'tar': write_tar, 'parquet': write_parquet}


class DatasetOfFile(ClassesFromFile, CocoDataset):
    """A COCO file whose classes are its categories, in their order."""

    def classes_of(self, file: CocoFile) -> dict:
        """The metainfo that a file gives: ``classes``."""
        return {'classes': [category['name'] for category in file.categories]}


def write_shards(
    dataset: BaseDetDataset, images: str, out: Path, kind: str, shard_size: int, progress: Callable = iter
) -> ShardIndex:
    """Write the pictures and annotations of a dataset as shards; masks, keypoints and areas are kept.

    Each shard is whole or absent, and the index, without which the folder is no data set, is written last. Writing
    again into the folder of a run that was stopped replaces what is there.

    Args:
        dataset: The dataset; its data infos are written in their order.
        images: Folder that names of pictures are relative to.
        out: Folder to write to.
        kind: 'tar' or 'parquet'.
        shard_size: Samples of a shard.
        progress: Wraps the numbers of the shards, as `tqdm` does.

    Returns:
        The index.

    Raises:
        ConfigError: The folder has an index already.
        DataError: A picture has no suffix.
        ImageError: A picture cannot be read.
    """
    if (out / INDEX).exists():
        raise ConfigError(f'{out} has a data set already, {INDEX}: choose another folder, or remove this one.')
    entries = []
    count = -(-len(dataset) // shard_size)
    for number in progress(range(count)):
        first = number * shard_size
        samples = list(_samples(dataset, images, range(first, min(first + shard_size, len(dataset)))))
        path = out / f'{number:06d}.{kind}'
        with whole_file(path) as file:
            WRITERS[kind](samples, first, file)
        entries.append(ShardEntry(path.name, path.stat().st_size, len(samples)))
    index = ShardIndex(kind, tuple(dataset.metainfo['classes']), tuple(entries))
    write_whole(out / INDEX, index.to_json())
    return index


def _samples(dataset: BaseDetDataset, images: str, indices: Sequence[int]) -> Iterator[RawSample]:
    for index in indices:
        info = dataset.get_data_info(index)
        name = relative_path(info, images)
        if not os.path.splitext(name)[1]:
            raise DataError(f'{info["img_path"]}: the picture has no suffix, such as .jpg, which names it in a shard.')
        fields = {key: info[key] for key in ('img_id', 'height', 'width')}
        annotations = json.dumps({'file_name': name, **fields, 'instances': plain(info['instances'])})
        yield RawSample(name, annotations.encode(), read_content(info['img_path'], dataset.backend_args))
