"""A report of the splits of a dataset: tables, a JSON file and pictures."""

import argparse
import copy
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mmengine.registry import init_default_scope
from terminaltables import AsciiTable
from tqdm import tqdm

from mmdetlike.cli.foreign import config_file
from mmdetlike.datasets.annotations import read_json
from mmdetlike.datasets.coco_file import CocoFile
from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.statistics import Fingerprint, Objects, alike, describe, fingerprint, name_of
from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS
from mmdetlike.utils.config import load_config, located
from mmdetlike.utils.outputs import check_folder

_SPLITS = ('train', 'val', 'test')
_LISTED = 10  # groups of duplicates, and classes in a picture's axis, to name one by one
_SHOWN = ('0%', '5%', '25%', '50%', '75%', '95%', '100%', 'mean')


@dataclass
class Split:
    """One part of a dataset.

    Attributes:
        name: What to call it.
        classes: Names of the classes.
        infos: What is known of each image.
        notes: What reading it left out.
        backend_args: Where its pictures are read from.
    """

    name: str
    classes: Sequence[str]
    infos: list[dict]
    notes: list[str]
    backend_args: dict | None = None


def report(args: argparse.Namespace) -> None:
    """Print and write what the command line asks for."""
    splits = _of_files(args) if args.sources[0].endswith('.json') and _is_coco(args) else _of_config(args)
    check_folder(Path(args.out_dir))
    folder = Path(args.out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        'splits': {split.name: {**describe(split.infos, split.classes), 'notes': split.notes} for split in splits}
    }
    if not args.no_hash:
        content['pictures'] = repeated_pictures(splits)
    for split in splits:
        _print_split(split.name, content['splits'][split.name])
        _draw(split, content['splits'][split.name], folder / f'{split.name}.png')
    if 'pictures' in content:
        _print_pictures(content['pictures'])
    (folder / 'stats.json').write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding='utf-8')
    print(f'stats.json and a picture of each split are in {folder}')


def _is_coco(args: argparse.Namespace) -> bool:
    """Whether the first source is a file of annotations; a config may be a JSON file, too."""
    content = read_json(os.path.expanduser(args.sources[0]))
    return isinstance(content, dict) and 'images' in content


def _of_files(args: argparse.Namespace) -> list[Split]:
    names = [Path(path).stem for path in args.sources]
    if len(set(names)) < len(names):
        names = list(args.sources)
    folders = args.images or ['']
    folders = folders * len(names) if len(folders) == 1 else folders
    return [_of_file(*one) for one in zip(names, args.sources, folders)]


def _of_file(name: str, path: str, images: str) -> Split:
    path = os.path.abspath(os.path.expanduser(path))
    classes = list(dict.fromkeys(category['name'] for category in CocoFile(path).categories))
    prefix = dict(img=os.path.abspath(os.path.expanduser(images))) if images else None
    cfg = dict(type='CocoDataset', ann_file=path, metainfo=dict(classes=classes), data_prefix=prefix)
    init_default_scope('mmdetlike')
    return _split(name.replace('/', '_'), DATASETS.build(cfg))


def _of_config(args: argparse.Namespace) -> list[Split]:
    cfg = load_config(config_file(args.sources[0]), args.cfg_options)
    init_default_scope(cfg.default_scope)
    splits = []
    seen = []
    for name in _SPLITS:
        settings = (cfg.get(f'{name}_dataloader') or {}).get('dataset')
        if settings is None:
            continue
        settings = _unfiltered(copy.deepcopy(settings))
        same = _without_pipelines(settings)
        if same in seen:
            print(f'{name}: the same as another split')
            continue
        seen.append(same)
        with located(cfg):
            splits.append(_split(name, DATASETS.build(settings)))
    if not splits:
        raise ConfigError(
            f'{cfg.filename} has no dataset: none of {", ".join(f"{name}_dataloader" for name in _SPLITS)}'
        )
    return splits


def _unfiltered(settings):
    """Settings of a dataset that leaves out no image: those without objects are what people ask about."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            settings[key] = None if key == 'filter_cfg' else _unfiltered(value)
    elif isinstance(settings, list):
        settings[:] = [_unfiltered(value) for value in settings]
    return settings


def _without_pipelines(settings):
    if isinstance(settings, dict):
        left_out = ('pipeline', 'test_mode', 'filter_cfg')
        return {key: _without_pipelines(value) for key, value in settings.items() if key not in left_out}
    return [_without_pipelines(value) for value in settings] if isinstance(settings, list) else settings


def _split(name: str, dataset) -> Split:
    parts = list(leaves(dataset))
    infos = [part.get_data_info(i) for part in parts for i in range(len(part))]
    reports = [part.report for part in parts if hasattr(part, 'report')]
    notes = [one.summary() for one in reports if one.summary()]
    notes += [f'{number} {reason}' for one in reports for reason, number in one.left_out.items()]
    backend_args = getattr(parts[0], 'backend_args', None)
    return Split(name, list(dataset.metainfo['classes']), infos, notes, backend_args)


def leaves(dataset):
    """The datasets within wrappers, each once, whatever repeats them."""
    inner = getattr(dataset, 'datasets', None) or ([dataset.dataset] if hasattr(dataset, 'dataset') else [])
    if not inner:
        dataset.full_init()
        yield dataset
    for part in inner:
        yield from leaves(part)


def repeated_pictures(splits: Sequence[Split]) -> dict:
    """Which pictures are the same or look alike, within a split and across splits, and which can't be read."""
    entries = [(split, info) for split in splits for info in split.infos]
    with ThreadPoolExecutor() as pool:  # reading and decoding pictures lets other threads run
        looks = list(tqdm(pool.map(_look, entries), desc='pictures', total=len(entries)))
    prints = [look if isinstance(look, Fingerprint) else None for look in looks]
    unreadable = [str(look) for look in looks if isinstance(look, ImageError)]
    groups = [[entries[i] for i in group] for group in alike(prints)]
    named = [[f'{split.name}: {name_of(info)}' for split, info in group] for group in groups]
    leaks = [names for names, group in zip(named, groups) if len({split.name for split, _ in group}) > 1]
    return {
        'looked at': sum(one is not None for one in prints),
        'unreadable': unreadable,
        'groups of alike pictures': named,
        'groups across splits': leaks,
    }


def _look(entry: tuple[Split, dict]) -> Fingerprint | ImageError | None:
    """The fingerprint of a picture, or why there is none; None of one that isn't on disk."""
    split, info = entry
    try:
        return fingerprint(info['img_path'], split.backend_args) if info.get('img_path') else None
    except ImageError as error:
        return error


def _print_split(name: str, numbers: dict) -> None:
    empty = numbers['images without objects']
    print(f'\n{name}: {numbers["images"]} images, {numbers["objects"]} objects', end=' ')
    print(f'({numbers["ignored objects"]} to ignore), {empty["number"]} images without objects')
    rows = [['class', 'objects', '%', 'images', 'median side']]
    for label, row in numbers['classes'].items():
        side = '-' if row['median side'] is None else f'{row["median side"]:.0f}'
        rows.append([label, row['objects'], f'{100 * row["share"]:.1f}', row['images'], side])
    print(_table(rows))
    rows = [['', *_SHOWN]]
    for what in ('side of an object', 'aspect ratio of an object', 'objects of an image', 'side of an image'):
        rows.append([what, *(f'{numbers[what][key]:.4g}' if key in numbers[what] else '-' for key in _SHOWN)])
    print(_table(rows))
    print('objects by size:', ', '.join(f'{count} {size}' for size, count in numbers['objects by size'].items()))
    print('sizes of images:', ', '.join(f'{count} of {size}' for size, count in numbers['sizes of images'].items()))
    if empty['number']:
        print(f'images without objects: {_some(empty["examples"], empty["number"])}')
    if numbers['classes without objects']:
        missing = numbers['classes without objects']
        print(f'classes without objects: {_some(missing[:_LISTED], len(missing))}')
    for what, value in numbers['overlaps'].items():
        if isinstance(value, int):
            print(f'{what}: {value}')
        elif value.get('number'):
            print(f'{what}: {value["number"]}: {_some(value["examples"], value["number"])}')
    for note in numbers['notes']:
        print(f'note: {note}')


def _some(examples: Sequence[str], number: int) -> str:
    return ', '.join(examples) + (' ...' if number > len(examples) else '')


def _table(rows: list[list]) -> str:
    table = AsciiTable([[str(cell) for cell in row] for row in rows])
    for column in range(1, len(rows[0])):
        table.justify_columns[column] = 'right'
    return table.table


def _print_pictures(pictures: dict) -> None:
    print(f'\n{pictures["looked at"]} pictures were looked at; {len(pictures["unreadable"])} could not be read')
    for text in pictures['unreadable'][:_LISTED]:
        print(f'  {text}')
    for key, what in (('groups of alike pictures', 'occur several times'), ('groups across splits', 'cross splits')):
        groups = pictures[key]
        print(f'{len(groups)} pictures {what}')
        for names in groups[:_LISTED]:
            print(f'  {" = ".join(names)}')


def _draw(split: Split, numbers: dict, path: Path) -> None:
    """Draw classes, sizes, shapes and numbers of objects of a split."""
    objects = Objects.of(split.infos)
    width, height = objects.sizes.T if len(objects.labels) else np.zeros((2, 0))
    figure = Figure(figsize=(14, 8), layout='constrained')
    figure.suptitle(f'{split.name}: {numbers["images"]} images, {numbers["objects"]} objects')
    of_class, side, ratio, per_image = figure.subplots(2, 2).ravel()
    names = sorted(numbers['classes'], key=lambda name: -numbers['classes'][name]['objects'])
    of_class.bar(range(len(names)), [numbers['classes'][name]['objects'] for name in names])
    step = max(1, len(names) // (4 * _LISTED))
    of_class.set_xticks(range(0, len(names), step), names[::step], rotation=90 if len(names) > 5 else 0)
    of_class.set_title('objects of a class')
    _histogram(side, np.sqrt(width * height), 'side of an object: root of its area, pixels')
    _histogram(ratio, width / np.maximum(height, 1e-9), 'aspect ratio of an object, width / height')
    counts = np.bincount(objects.images, minlength=len(split.infos))
    per_image.hist(counts, bins=np.arange(counts.max(initial=0) + 2) - 0.5)
    per_image.set_title('objects of an image')
    figure.savefig(path, dpi=90)


def _histogram(axes, values: np.ndarray, title: str) -> None:
    """A histogram with a logarithmic axis, on which twice as large is as far as half as large."""
    axes.set_title(title)
    values = values[values > 0]
    if len(values):
        low = np.log2(values.min()) - 0.1
        high = np.log2(values.max()) + 0.1
        axes.hist(values, bins=2 ** np.linspace(low, high, 50))
        axes.set_xscale('log', base=2)
        axes.xaxis.set_major_formatter('{x:g}')
