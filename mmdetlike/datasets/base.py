"""The base of all detection datasets: seeded samples, broken images, filtering, errors that say what is wrong."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from ..errors import ConfigError
from ..registry import DATASETS, TRANSFORMS
from ..utils.collection import without_collector
from ..utils.colors import distinct_colors
from ..utils.data_root import rooted
from .annotation_cache import AnnotationCache
from .errors import (
    DataError,
    ImageError,
    ImageSizeError,
    PipelineError,
    SkipReport,
    tells_at,
    warn,
)
from .keypoint_pairs import with_keypoint_indices
from .metainfo import checked_class_names, checked_metainfo, full_palette
from .proposals import attach_proposals, path_below
from .seeding import seeded

_ABSENT = object()
MAX_BROKEN_IN_A_ROW = 10  # so many at once mean a wrong path, not a few bad files


@DATASETS.register_module()
class BaseDetDataset(BaseDataset):
    """A detection dataset: subclasses supply ``load_data_list``.

    A sample is made of ``dict(img_path, img_id, seg_map_path, height, width, instances)`` by the pipeline; an instance
    is ``dict(bbox, bbox_label, ignore_flag)`` with ``bbox`` xyxy in pixels and optionally ``mask`` (polygons or RLE),
    ``keypoints`` (flat x, y, visibility) and ``area``. The random choices of the pipeline follow the seed of the index
    (see ``mmdetlike.datasets.seeding``). In training an image that cannot be read, or that isn't of the size which its
    annotations give, is replaced by another sample, with a warning; in ``test_mode`` the former raises.

    Args:
        seg_map_suffix: Suffix of the semantic segmentation of an image, looked for in ``data_prefix['seg']``.
        proposal_file: Proposals by folder and name of the image, relative to ``data_root``: a pickle as
            ``DumpProposals`` writes, or JSON; put into ``proposals``.
        file_client_args: No longer accepted; use ``backend_args``.
        backend_args: Where files are read from, as for ``mmengine.fileio.get``.
        return_classes: Put the class names into the sample, as ``text``.
        data_prefix: Folders, relative to ``data_root``: ``dict(img='train/', seg='maps/')``.
        pipeline: Transforms, or configs of them, that make a sample of a data info.
        max_refetch: How many other samples are tried in training in place of one that a step of the pipeline gives up.

    The other arguments are those of ``mmengine.dataset.BaseDataset``.
    """

    ACCEPTED_FILTERS = ('filter_empty_gt', 'min_size', 'min_keypoints')
    ACCEPTED_PREFIXES = ('img', 'seg')
    PREFIX_ALIASES: Mapping[str, str] = {}  # other names of them
    UNIT = 'images'  # what messages call the samples
    may_be_cached = True  # false once something else than the annotation file has been read

    def __init__(
        self,
        *args,
        seg_map_suffix: str = '.png',
        proposal_file: str | None = None,
        file_client_args: dict | None = None,
        backend_args: dict | None = None,
        return_classes: bool = False,
        data_prefix: dict | None = None,
        pipeline: list = (),
        max_refetch: int = 1000,
        **kwargs,
    ) -> None:
        if file_client_args is not None:
            raise ConfigError('file_client_args is no longer accepted: pass backend_args to the dataset instead.')
        check_max_refetch(max_refetch)
        self.seg_map_suffix = seg_map_suffix
        self.proposal_file = proposal_file
        self.backend_args = backend_args
        self.return_classes = return_classes
        self.broken_images: dict[str, str] = {}
        self.report = SkipReport(type(self).__name__)
        prefix = self._checked_prefix(data_prefix)
        steps = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        super().__init__(*args, data_prefix=prefix, pipeline=steps, max_refetch=max_refetch, **kwargs)

    def _join_prefix(self) -> None:
        self.ann_file = self._one_path('ann_file')
        self.data_root = rooted(self._one_path('data_root'))
        super()._join_prefix()

    def _one_path(self, key: str) -> str:
        path = getattr(self, key)
        if not isinstance(path, (str, os.PathLike, type(None))):
            raise ConfigError(
                f'{type(self).__name__}: {key}={path!r} should be one path; for several sets use '
                f"dict(type='ConcatDataset', datasets=[...])."
            )
        return '' if path is None else os.path.expanduser(os.fspath(path))

    def _checked_prefix(self, data_prefix: dict | None) -> dict[str, str]:
        accepted = list(self.ACCEPTED_PREFIXES)
        if data_prefix is None:
            return {accepted[0]: ''}
        if not isinstance(data_prefix, dict):
            raise ConfigError(
                f'data_prefix={data_prefix!r} should be a dict: write dict({accepted[0]}={data_prefix!r}).'
            )
        data_prefix = {self.PREFIX_ALIASES.get(key, key): folder for key, folder in data_prefix.items()}
        unknown = sorted(set(data_prefix) - set(accepted))
        if unknown:
            raise ConfigError(f'data_prefix has {unknown}; it accepts {accepted}.')
        folders = {key: os.fspath(folder) for key, folder in data_prefix.items() if folder is not None}
        return {key: os.path.expanduser(folder) for key, folder in folders.items()}

    @classmethod
    def _load_metainfo(cls, metainfo=None) -> dict:
        metainfo = checked_metainfo(metainfo)
        if 'classes' in metainfo:
            metainfo['classes'] = checked_class_names(metainfo['classes'])
        meta = with_keypoint_indices(super()._load_metainfo(metainfo))
        if 'classes' in metainfo and 'palette' not in metainfo:
            meta['palette'] = distinct_colors(len(meta['classes']))
        elif 'palette' in metainfo and meta.get('classes'):
            meta['palette'] = full_palette(meta['palette'], len(meta['classes']))
        return meta

    @property
    def skipped(self) -> int:
        """The number of annotations of the file that were left out because they are wrong."""
        return self.report.num_skipped

    def full_init(self) -> None:
        """Load, check, filter and pack the data infos.

        Raises:
            DataError: There are no images, or none is left after filtering.
        """
        if self._fully_initialized:
            return
        with without_collector():
            cache = self.annotation_cache() if self._indices is None else None
            state = None if cache is None else cache.read()
            if state is not None:
                vars(self).update(state)
                self.report.warn()
            else:
                before = dict(vars(self))
                self._load()
                if cache is not None and self.may_be_cached:
                    cache.write({key: v for key, v in vars(self).items() if before.get(key, _ABSENT) is not v})
        if self.remark is not None:
            print_log(self.remark, logger='current')
        if self.useless is not None:
            warn(self.useless)
        self._fully_initialized = True

    def annotation_cache(self) -> AnnotationCache | None:
        """Where what is loaded is kept for the next start; None, the default, if it isn't.

        What ``full_init`` sets as attributes is kept, and restored in its place.
        """
        return None

    def _load(self) -> None:
        """Load, filter and pack, and note in ``remark`` and ``useless`` what to tell."""
        self.remark = None
        self.useless = None
        self._filter_config()  # a wrong one is refused before files are read
        self.data_list = self.load_data_list()
        if not self.data_list:
            raise DataError(f'{self.source}: there are no {self.UNIT} in it.')
        self.report.warn()  # before what may fail: it may tell why
        if self.proposal_file is not None:
            attach_proposals(self.data_list, path_below(self.data_root, self.proposal_file), self.backend_args)
        loaded = self.data_list
        self.data_list = self._filtered()
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._checked_indices())
        if self.ann_file:
            self._note_what_is_used(loaded)
        if self.return_classes:
            for info in self.data_list:
                info.update(text=self.metainfo['classes'], custom_entities=True)
        if self.serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()

    @property
    def loads_masks(self) -> bool:
        """Whether a step of the pipeline loads masks, so that objects without one matter."""
        return any(getattr(step, 'with_mask', False) for step in self.pipeline.transforms)

    def _checked_indices(self) -> int | Sequence[int]:
        """``indices``, known to select something that is there."""
        indices = self._indices
        count = len(self.data_list)
        numbers = [indices] if isinstance(indices, int) else indices
        if not isinstance(numbers, (Sequence, np.ndarray)) or not all(
            isinstance(number, (int, np.integer)) and not isinstance(number, bool) for number in numbers
        ):
            raise ConfigError(f'{self.source}: indices={indices!r} should be a whole number or a list of them.')
        if not len(numbers) or indices == 0:
            raise ConfigError(f'{self.source}: indices={indices!r} leaves none of its {count} images.')
        outside = [number for number in numbers if not -count <= number < count]
        if outside and not isinstance(indices, int):
            raise ConfigError(f'{self.source}: indices has {outside[:5]}, but there are only {count} images.')
        return indices

    def _note_what_is_used(self, loaded: list[dict]) -> None:
        """Note how many images and objects there are, and what was left out and why."""
        objects = [instance for info in self.data_list for instance in info.get('instances', ())]
        ignored = sum(bool(instance.get('ignore_flag', 0)) for instance in objects)
        empty = sum(not info.get('instances') for info in self.data_list)
        number = f'{len(self.data_list)} {self.UNIT}'
        parts = [f'{number} ({empty} without objects), {len(objects)} objects ({ignored} ignored)']
        if len(loaded) > len(self.data_list):
            reasons = ', '.join(f'{count} {why}' for why, count in self._filter_counts(loaded).items() if count)
            parts.append(f'left out {len(loaded) - len(self.data_list)} {self.UNIT} ({reasons or "not among indices"})')
        if self.report.left_out:
            reasons = ', '.join(f'{count} {why}' for why, count in self.report.left_out.items())
            parts.append(f'left out {reasons}')
        self.remark = f'{self.source}: {"; ".join(parts)}.'
        if objects and ignored == len(objects):
            self.useless = (
                f'{self.source}: all of its {ignored} objects are to be ignored: there is nothing to learn or to find.'
            )

    @property
    def source(self) -> str:
        """The name of this dataset in messages."""
        return self.ann_file or type(self).__name__

    def _filtered(self) -> list[dict]:
        before = len(self.data_list)
        kept = self.filter_data()
        if not kept:
            counts = self._filter_counts(self.data_list)
            raise DataError(
                f'{self.source}: none of its {before} {self.UNIT} is left after filtering with filter_cfg='
                f'{self.filter_cfg}: {", ".join(f"{n} {why}" for why, n in counts.items())}.'
            )
        return kept

    def _filter_counts(self, infos: list[dict]) -> dict[str, int]:
        config = self._filter_config()
        if self.test_mode or not self.filter_cfg:
            return {}
        empty = sum(map(self.is_empty, infos)) if config['filter_empty_gt'] else 0
        small = sum(min(info['width'], info['height']) < config['min_size'] for info in infos)
        fewest = config['min_keypoints']
        bare = sum(labeled_keypoints(info) < fewest for info in infos)
        counts = {'have no objects of the classes': empty, f'are smaller than {config["min_size"]} px': small}
        return {**counts, f'have fewer than {fewest} labeled keypoints': bare} if fewest else counts

    def _filter_config(self) -> dict:
        if not isinstance(self.filter_cfg or {}, dict):
            raise ConfigError(f'filter_cfg={self.filter_cfg!r} should be a dict of {list(self.ACCEPTED_FILTERS)}.')
        config = dict(self.filter_cfg or {})
        unknown = set(config) - set(self.ACCEPTED_FILTERS)
        if unknown:
            raise ConfigError(f'filter_cfg has {sorted(unknown)}; it accepts {list(self.ACCEPTED_FILTERS)}.')
        for key in ('min_size', 'bbox_min_size'):
            smallest = config.get(key, 0)
            if isinstance(smallest, bool) or not isinstance(smallest, (int, float)):
                raise ConfigError(f'filter_cfg has {key}={smallest!r}; expected a number of pixels.')
        fewest = config.get('min_keypoints', 0)
        if isinstance(fewest, bool) or not isinstance(fewest, int):
            raise ConfigError(f'filter_cfg has min_keypoints={fewest!r}; expected a whole number.')
        empty = config.get('filter_empty_gt', False)
        return {'filter_empty_gt': empty, 'min_size': config.get('min_size', 0), 'min_keypoints': fewest}

    def filter_data(self) -> list[dict]:
        """The data infos to use: all in ``test_mode``, else those that ``filter_cfg`` admits.

        ``filter_empty_gt`` removes images without objects, ``min_size`` those whose shorter side is below it,
        ``min_keypoints`` those with fewer labeled keypoints of all their objects together.
        """
        config = self._filter_config()
        if self.test_mode or not self.filter_cfg:
            return self.data_list
        return [
            info
            for info in self.data_list
            if not (config['filter_empty_gt'] and self.is_empty(info))
            and min(info['width'], info['height']) >= config['min_size']
            and labeled_keypoints(info) >= config['min_keypoints']
        ]

    def too_small(self, box: Sequence[float]) -> bool:
        """Whether a box xyxy is only to be ignored in training, as ``filter_cfg['bbox_min_size']`` says in pixels."""
        smallest = (self.filter_cfg or {}).get('bbox_min_size', 0)
        return not self.test_mode and min(box[2] - box[0], box[3] - box[1]) < smallest

    def is_empty(self, info: dict) -> bool:
        """Whether an image counts as one without objects for ``filter_empty_gt``."""
        return not info['instances']

    def get_cat_ids(self, idx: int) -> list[int]:
        """The label of each instance of sample ``idx``."""
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']]

    def pipeline_input(self, idx: int) -> dict:
        """The dict that enters the pipeline for sample ``idx``: its data info and settings of the dataset.

        These are ``test_mode`` and ``flip_indices``, by which keypoints of left and right are swapped in a flip.
        """
        info = self.get_data_info(idx)
        info['test_mode'] = self.test_mode
        if 'flip_indices' in self._metainfo:
            info['flip_indices'] = self._metainfo['flip_indices']
        return info

    def prepare_data(self, idx: int) -> dict | None:
        """Sample ``idx`` after the pipeline."""
        return self.pipeline(self.pipeline_input(idx))

    def __getitem__(self, idx: int) -> dict:
        """Sample ``idx`` after the pipeline; its random choices follow the seed that ``idx`` carries, if any."""
        if not self._fully_initialized:
            self.full_init()
        with seeded(idx):
            return self._test_sample(int(idx)) if self.test_mode else self._train_sample(int(idx))

    def _test_sample(self, idx: int) -> dict:
        data = self.prepare_data(idx)
        if data is None:
            path = self.get_data_info(idx)['img_path']
            raise PipelineError(
                f'The test pipeline returned None for sample {idx} ({path}): a step of it gave the picture up, but in '
                f'testing all count. Leave out steps that choose, as FilterAnnotations or RandomCrop.'
            )
        return data

    def _train_sample(self, idx: int) -> dict:
        broken = 0
        for _ in range(self.max_refetch + 1):
            try:
                data = self.prepare_data(idx)
            except ImageError as error:
                broken += 1
                self._note_broken(error, broken)
                data = None
            if data is not None:
                return data
            idx = self._rand_another()  # within the seeded block: a rerun replaces the sample by the same one
        raise PipelineError(
            f'{self.source}: the pipeline returned None for {self.max_refetch + 1} samples in a row: a step of it, as '
            f'RandomCrop or FilterAnnotations, gives up too many of them for want of objects.'
        )

    def _note_broken(self, error: ImageError, in_a_row: int) -> None:
        if in_a_row >= MAX_BROKEN_IN_A_ROW:
            raise DataError(self._all_broken(error, in_a_row)) from error
        if error.path not in self.broken_images:
            self.broken_images[error.path] = error.reason
            count = len(self.broken_images)
            fault = 'an image of another size than recorded' if isinstance(error, ImageSizeError) else 'a broken image'
            if tells_at(count):
                warn(f'Skipped {fault} ({count} so far in this process): {error}.')

    def _all_broken(self, error: ImageError, in_a_row: int) -> str:
        if isinstance(error, ImageSizeError):
            return (
                f'{self.source}: {in_a_row} images in a row are of another size than recorded, the last being {error}.'
            )
        return (
            f'{self.source}: {in_a_row} images in a row could not be read, the last being {error}. '
            f'Check data_root={self.data_root!r} and data_prefix={self.data_prefix}.'
        )


def labeled_keypoints(info: dict) -> int:
    """The number of keypoints of an image that are labeled, hidden or not, of all objects that aren't ignored."""
    objects = [item for item in info.get('instances', ()) if not item.get('ignore_flag', 0)]
    return sum(
        int((np.asarray(item['keypoints']).reshape(-1, 3)[:, 2] > 0).sum()) for item in objects if 'keypoints' in item
    )


def check_max_refetch(number: object) -> None:
    """Refuse anything but a whole number of at least 0.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ConfigError(f'max_refetch={number!r} should be a whole number of at least 0.')
