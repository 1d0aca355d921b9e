"""Anchors fitted to the training set of a config, as lines of a config."""

import argparse
import re
from collections.abc import Sequence

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdetlike.apis.pipeline import dataset_config
from mmdetlike.cli.dataset_report import leaves
from mmdetlike.datasets import anchor_fitting as fitting
from mmdetlike.datasets.statistics import Objects
from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS, TASK_UTILS
from mmdetlike.utils.config import dicts_within, load_config, located, require
from mmdetlike.utils.setup_env import register_all_modules

_SINGLE = 'YOLOAnchorGenerator'
_SHAPED = 'AnchorGenerator'


def optimize(args: argparse.Namespace) -> None:
    """Print what the command line asks for."""
    cfg = load_config(args.config, args.cfg_options)
    require(cfg, 'model', 'train_dataloader')
    register_all_modules(init_default_scope_=False)
    init_default_scope(cfg.default_scope)
    path, settings = _anchor_generator(cfg)
    kind = settings['type'].rpartition('.')[2]
    if kind == _SHAPED and args.algorithm == 'k-means':
        raise ConfigError(
            f'--algorithm k-means finds single anchors, but {path} is an AnchorGenerator, of ratios and scales: use '
            f'differential_evolution'
        )
    shape, keep_ratio = _input_shape(cfg, args.input_shape)
    sizes = object_sizes(cfg, shape, keep_ratio)
    with located(cfg):
        generator = TASK_UTILS.build(settings)
    print(f'{len(sizes)} objects in pictures of {_told(shape, keep_ratio)}')
    before = np.concatenate([_sizes_of(level.numpy()) for level in generator.base_anchors])
    _tell('before', sizes, before)
    if kind == _SINGLE:
        changes = _fit_single(sizes, generator, args)
    else:
        changes = _fit_shapes(sizes, generator, settings, args)
    after = TASK_UTILS.build({**settings, **changes})
    _tell('after', sizes, np.concatenate([_sizes_of(level.numpy()) for level in after.base_anchors]))
    lines = snippet(path, changes)
    print(f'\n{lines}')
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(lines + '\n')


def _told(shape: tuple[int, int] | None, keep_ratio: bool) -> str:
    if shape is None:
        return 'their own size (the test pipeline resizes nothing)'
    return f'{shape[0]} x {shape[1]} pixels' + (' at most' if keep_ratio else '')


def _sizes_of(boxes: np.ndarray) -> np.ndarray:
    return boxes[:, 2:] - boxes[:, :2]


def _tell(when: str, sizes: np.ndarray, anchors: np.ndarray) -> None:
    values = ', '.join(f'{name} {value:.4f}' for name, value in fitting.fit(sizes, anchors).items())
    print(f'{when}: {values}')


def _anchor_generator(cfg: Config) -> tuple[str, dict]:
    """Key path and settings of the anchor generator of a model.

    Raises:
        ConfigError: There is none that this tool knows.
    """
    others = []
    for path, settings in dicts_within(cfg.model.to_dict(), 'model'):
        if path.endswith('anchor_generator'):
            if settings.get('type', '').rpartition('.')[2] in (_SINGLE, _SHAPED):
                return path, settings
            others.append(f'{path} of type {settings.get("type")!r}')
    raise ConfigError(
        f'{cfg.filename}: expected a model with an anchor_generator of type {_SINGLE} or {_SHAPED}, '
        f'got {" and ".join(others) or "one without anchors"}'
    )


def _input_shape(cfg: Config, given: Sequence[int] | None) -> tuple[tuple[int, int] | None, bool]:
    """Width and height that pictures are resized to, None for their own, and whether they keep their ratio."""
    steps = (dataset_config(cfg) or {}).get('pipeline') or ()
    scaled = next((step for step in steps if isinstance(step.get('scale'), (tuple, list))), None)
    keep_ratio = bool(scaled and scaled.get('keep_ratio', False))
    if given is None and scaled is None:
        return None, True
    return tuple(given or scaled['scale']), keep_ratio


def object_sizes(cfg: Config, shape: tuple[int, int] | None, keep_ratio: bool) -> np.ndarray:
    """Widths and heights (n, 2) of the objects of the training set in pixels of the network's input.

    Raises:
        ConfigError: There are none, or they are rotated.
    """
    with located(cfg):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
    infos = [part.get_data_info(i) for part in leaves(dataset) for i in range(len(part))]
    objects = Objects.of(infos)
    if objects.boxes.shape[1] != 4:
        raise ConfigError(f'{cfg.filename}: the training set has rotated boxes; anchors are fitted to upright ones')
    factors = np.array([_factors(info['width'], info['height'], shape, keep_ratio) for info in infos]).reshape(-1, 2)
    kept = ~objects.ignored & (objects.sizes > 0).all(1)
    sizes = (objects.sizes * factors[objects.images])[kept]
    if not len(sizes):
        raise ConfigError(f'{cfg.filename}: the training set has no objects to fit anchors to')
    return sizes


def _factors(width: int, height: int, shape: tuple[int, int] | None, keep_ratio: bool) -> tuple[float, float]:
    if shape is None:
        return 1.0, 1.0
    if not keep_ratio:
        return shape[0] / width, shape[1] / height
    factor = min(max(shape) / max(width, height), min(shape) / min(width, height))
    return factor, factor


def _fit_single(sizes: np.ndarray, generator, args: argparse.Namespace) -> dict:
    """``base_sizes`` of YOLOv3: each level gets as many anchors as it has, that of the largest stride the largest."""
    counts = [len(level) for level in generator.base_anchors]
    if len(sizes) < sum(counts):
        raise ConfigError(f'the training set has {len(sizes)} objects, fewer than the {sum(counts)} anchors to find')
    search = fitting.evolve_sizes if args.algorithm == 'differential_evolution' else fitting.k_means
    anchors = [tuple(pair) for pair in search(sizes, sum(counts), args.seed).round().astype(int).tolist()]
    base_sizes = [[] for _ in counts]
    for level in np.argsort([min(stride) for stride in generator.strides]).tolist():
        base_sizes[level] = anchors[: counts[level]]
        anchors = anchors[counts[level] :]
    return dict(base_sizes=base_sizes)


def _fit_shapes(sizes: np.ndarray, generator, settings: dict, args: argparse.Namespace) -> dict:
    """``ratios``, and ``scales`` or ``octave_base_scale``."""
    base_sizes = np.array(generator.base_sizes, dtype=float)
    scales = generator.scales.double().numpy()
    by_octave = settings.get('octave_base_scale') is not None
    start = np.array(settings['ratios'], dtype=float)
    ratios, found = fitting.evolve_shapes(sizes, base_sizes, start, scales, by_octave, args.seed)
    rounded = np.round(found, 2).tolist()
    changes = dict(ratios=np.round(ratios, 2).tolist())
    return {**changes, 'octave_base_scale': rounded[0]} if by_octave else {**changes, 'scales': rounded}


def snippet(path: str, changes: dict) -> str:
    """The lines of a config that change settings at a key path."""
    first, *rest = re.sub(r'\[\d+\]', '', path).split('.')
    value = ', '.join(f'{key}={value}' for key, value in changes.items())
    for key in reversed(rest):
        value = f'{key}=dict({value})'
    return f'{first} = dict({value})'
