"""Drawing what a dataset yields: each sample, or the picture after each transform, with its ground truth."""

import argparse
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement, InstanceData
from mmengine.visualization import Visualizer
from tqdm import tqdm

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms import TransformBroadcaster
from mmdetlike.engine.hooks.visualization_hook import picture_paths
from mmdetlike.errors import ConfigError
from mmdetlike.registry import DATASETS, VISUALIZERS
from mmdetlike.structures import TrackDataSample
from mmdetlike.utils.config import load_config, located, require
from mmdetlike.utils.outputs import OutputFolder, identity
from mmdetlike.utils.run_config import warn_of_unread_settings
from mmdetlike.visualization import contact_sheet, save_image
from mmdetlike.visualization.local_visualizer import has_display
from mmdetlike.visualization.pixels import picture_of_pixels

# Results of a pipeline before they are packed, and what they are called in a data sample.
FIELDS = {
    'gt_bboxes': 'bboxes',
    'gt_bboxes_labels': 'labels',
    'gt_masks': 'masks',
    'gt_keypoints': 'keypoints',
}
_LISTED = 20  # pictures that can't be read to name at the end
Picture = tuple[np.ndarray, InstanceData | None]
View = tuple[str, str, Picture]  # what it is called, the path it is from, and what it shows


@dataclass(frozen=True)
class Output:
    """Where pictures go: to ``files`` and, unless ``seconds`` is None, for so long into a window."""

    files: OutputFolder
    seconds: float | None
    visualizer: Visualizer

    def sample(self, index: int, path: str, picture: Picture) -> None:
        """Draw one picture, read from ``path``, with its ground truth."""
        image, instances = picture
        data_sample = BaseDataElement() if instances is None else BaseDataElement(gt_instances=instances)
        self.visualizer.add_datasample(
            _stem(path),
            image,
            data_sample,
            draw_pred=False,
            show=self.seconds is not None,
            wait_time=self.seconds or 0,
            out_file=str(self._file(index, path)),
        )

    def stages(self, index: int, stages: list[View]) -> None:
        """Draw the picture after each transform, side by side."""
        meta = self.visualizer.dataset_meta
        captions, pictures = [stage[0] for stage in stages], [stage[2] for stage in stages]
        sheet = contact_sheet(pictures, 3, 480, captions, meta.get('classes'), meta.get('palette'))
        path = stages[-1][1]
        save_image(sheet, self._file(index, path))
        if self.seconds is not None:
            self.visualizer.show(sheet, win_name=_stem(path), wait_time=self.seconds)

    def _file(self, index: int, path: str) -> Path:
        """A file for a sample: one picture may be several of them, so they are told apart by their numbers."""
        name = self.files.name(path or 'sample', '.jpg')
        return self.files.claim(name.with_name(f'{index:06d}_{name.name}'), f'sample {index} {identity(path)}')


def browse(args: argparse.Namespace) -> None:
    """Draw the samples that the command line describes and say what was written."""
    cfg = load_config(args.config, args.cfg_options)
    warn_of_unread_settings(cfg, args.cfg_options)
    dataset, visualizer = _build(cfg, args.split)
    files = OutputFolder(args.output_dir or _default_folder(cfg, args), picture_paths(dataset))
    files.check(())
    output = Output(files, _window(args), visualizer)
    total = min(len(dataset), args.number or len(dataset))
    written, failures = 0, []
    for i in tqdm(range(total), desc=f'{args.split}, {args.mode}'):
        try:
            written += _browse(dataset, i, args.mode, output)
        except ImageError as error:
            failures.append(error)
    _report(written, total - written - len(failures), failures, files.folder)


def _report(written: int, refused: int, failures: list[ImageError], folder: Path) -> None:
    """Say what was written and what wasn't."""
    for error in failures[:_LISTED]:
        print(f'  {error}')
    if failures:
        print(f'{len(failures)} pictures could not be read{": the first are above" if len(failures) > _LISTED else ""}')
    note = f' ({refused} left out: a transform returned None for them)' if refused else ''
    print(f'{written} pictures written to {folder}{note}')
    if failures and not written:
        raise failures[0]


def _build(cfg: Config, split: str) -> tuple[Any, Visualizer]:
    init_default_scope(cfg.default_scope)
    require(cfg, f'{split}_dataloader')
    settings = dict(cfg.get('visualizer') or {'type': 'DetLocalVisualizer'})
    settings.update(name=f'browse_dataset_{time.time_ns()}', vis_backends=None)
    with located(cfg):
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        visualizer = VISUALIZERS.build(settings)
    visualizer.dataset_meta = dataset.metainfo
    return dataset, visualizer


def _default_folder(cfg: Config, args: argparse.Namespace) -> Path:
    return Path(cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem) / f'browse_{args.split}'


def _window(args: argparse.Namespace) -> float | None:
    """Seconds for which to show each picture; None for no window."""
    if args.not_show:
        return None
    if not has_display():
        print('no display: pictures are written only')
        return None
    return args.show_interval


def _browse(dataset: Any, index: int, mode: str, output: Output) -> bool:
    """Draw one sample; return whether the pipeline gave one."""
    if mode == 'transformed':
        _draw(list(_views(dataset[index])), index, output)
        return True
    stages = list(_stages(*_source(dataset, index), only_loading=mode in ('original', 'concat')))
    if stages[-1] is None:
        return False
    if mode == 'concat':
        before = stages[-1]
        after = list(_views(dataset[index]))
        output.stages(index, [*_called('original', before), *_called('transformed', after)])
    elif mode == 'original':
        _draw(stages[-1], index, output)
    else:
        output.stages(index, list(itertools.chain.from_iterable(stages)))
    return True


def _called(name: str, views: list[View]) -> list[View]:
    return [(name, path, picture) for _, path, picture in views]


def as_loaded(dataset: Any, index: int) -> Picture:
    """The RGB picture of a sample, and what is annotated in it, as the loading steps of the pipeline leave them.

    Raises:
        ConfigError: None of them leaves a picture.
    """
    stages = [stage for stage in _stages(*_source(dataset, index), only_loading=True) if stage is not None]
    return stages[-1][0][2]


def _draw(views: list[View], index: int, output: Output) -> None:
    """Draw a sample, its views side by side if there are several."""
    if len(views) == 1:
        output.sample(index, *views[0][1:])
    else:
        output.stages(index, views)


def _source(dataset: Any, index: int) -> tuple[Any, int]:
    """The dataset inside wrappers (concatenation, repetition, mixing) and the index of the sample in it."""
    while hasattr(dataset, 'locate'):
        dataset, index = dataset.locate(index)
    return dataset, index


def _stages(dataset: Any, index: int, only_loading: bool) -> Iterator[list[View] | None]:
    """The views of a sample after each transform that leaves a picture; None when one refuses the sample.

    Raises:
        ConfigError: None leaves a picture.
    """
    results = dataset.pipeline_input(index)
    has_picture = False
    for transform in dataset.pipeline.transforms:
        step = _loading_part(transform) if only_loading else transform
        if step is None:
            continue
        results = step(results)
        if results is None:
            yield None
            return
        views = list(_views(results))
        if views:
            has_picture = True
            yield [(' '.join(filter(None, [type(transform).__name__, name])), *view) for name, *view in views]
    if not has_picture:
        names = ', '.join(type(transform).__name__ for transform in dataset.pipeline.transforms)
        raise ConfigError(f'no transform of the pipeline loads a picture; there are {names or "none"}')


def _loading_part(transform: Any) -> Any | None:
    """A transform that loads, or of one that runs others on each frame those that load; None if there are none."""
    if isinstance(transform, TransformBroadcaster):
        parts = [part for part in map(_loading_part, transform.transforms.transforms) if part is not None]
        return TransformBroadcaster(parts) if parts else None
    return transform if type(transform).__name__.startswith('Load') else None


def _views(results: dict) -> Iterator[View]:
    """The name, path and picture of each view in a sample: of its branches, of the frames of a clip, or of itself.

    There are none before a picture is loaded.
    """
    packed = results.get('data_samples')
    if isinstance(packed, dict):
        for branch, sample in packed.items():
            if sample is not None:
                view = dict(inputs=results['inputs'][branch], data_samples=sample)
                yield branch, _path(view), _picture(view)
    elif isinstance(packed, TrackDataSample):
        for number, (image, sample) in enumerate(zip(results['inputs'], packed)):
            view = dict(inputs=image, data_samples=sample)
            yield f'frame {number}', _path(view), _picture(view)
    elif 'frames' in results:
        for number, frame in enumerate(results['frames']):
            yield from ((f'frame {number}', *view) for _, *view in _views(frame))
    elif 'img' in results or 'inputs' in results:
        yield '', _path(results), _picture(results)


def _path(results: dict) -> str:
    """Where the picture of a sample is from; '' if it doesn't say."""
    packed = results.get('data_samples')
    return (results if packed is None else packed.metainfo).get('img_path') or ''


def _stem(path: str) -> str:
    return Path(path).stem or 'sample'


def _picture(results: dict) -> Picture:
    """RGB image and ground truth of a sample, packed or not."""
    if 'inputs' in results:
        image = results['inputs'].detach().cpu().numpy().transpose(1, 2, 0)
        instances = results['data_samples'].get('gt_instances')
    else:
        image = results['img']
        found = {name: results[key] for key, name in FIELDS.items() if key in results}
        instances = InstanceData(**found) if 'bboxes' in found else None
    return picture_of_pixels(image), instances
