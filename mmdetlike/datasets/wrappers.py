"""Datasets made of other datasets. The seed that an index carries is passed on."""

import bisect
import copy
import itertools
import math
from collections.abc import Sequence

import numpy as np
from mmengine.structures import BaseDataElement
from torch.utils.data import Dataset

from ..errors import ConfigError
from ..registry import DATASETS, TRANSFORMS
from .base import check_max_refetch
from .errors import DataError, PipelineError
from .records import same_id
from .repeat_factor_sampler import repeat_factors
from .seeding import seeded, with_seed_of
from .transforms.sample_copy import copy_for


def _build_dataset(dataset) -> Dataset:
    built = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
    if not hasattr(built, 'metainfo'):
        raise ConfigError(f'a dataset, or a dict that configures one, was expected, got {built!r:.80}')
    return built


def _source(dataset: Dataset) -> str:
    return getattr(dataset, 'source', type(dataset).__name__)


class _Wrapper(Dataset):
    """A dataset whose samples are those of other datasets; subclasses say in ``locate`` where each comes from."""

    metainfo: dict

    def full_init(self) -> None:
        """Load the annotations of everything inside."""

    def locate(self, idx: int) -> tuple[Dataset, int]:
        """The inner dataset and the index in it of sample ``idx``."""
        raise NotImplementedError

    def _checked_index(self, idx: int) -> int:
        """``idx`` counted from 0; a negative one counts from the end."""
        if not -len(self) <= idx < len(self):
            raise IndexError(f'{type(self).__name__} has {len(self)} samples, there is no number {int(idx)}.')
        return int(idx) % len(self)

    def __getitem__(self, idx: int) -> dict:
        dataset, inner = self.locate(self._checked_index(idx))
        return dataset[with_seed_of(idx, inner)]

    def get_data_info(self, idx: int) -> dict:
        """Data info of sample ``idx``, from the dataset it belongs to; ``sample_idx`` is ``idx``."""
        dataset, inner = self.locate(self._checked_index(idx))
        return {**dataset.get_data_info(inner), 'sample_idx': self._checked_index(idx)}

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels of the instances of sample ``idx``."""
        dataset, inner = self.locate(self._checked_index(idx))
        return dataset.get_cat_ids(inner)


@DATASETS.register_module()
class ConcatDataset(_Wrapper):
    """Several datasets one after the other.

    Args:
        datasets: Datasets or configs of them.
        lazy_init: Load annotations only when they are needed.
        ignore_keys: Keys of ``metainfo`` that may differ; that of the first dataset is used.

    Samples packed by ``PackDetInputs`` get ``concat_idx``, their index here, by which `MultiDatasetsEvaluator` knows
    the dataset that they are from.

    Raises:
        ConfigError: The datasets' ``metainfo`` differs otherwise.
    """

    def __init__(
        self, datasets: Sequence, lazy_init: bool = False, ignore_keys: str | Sequence[str] | None = None
    ) -> None:
        if not isinstance(datasets, Sequence) or isinstance(datasets, str) or not datasets:
            raise ConfigError(f'datasets must be a list of at least one dataset, got {datasets!r:.80}')
        self.datasets = [_build_dataset(dataset) for dataset in datasets]
        self.ignore_keys = {ignore_keys} if isinstance(ignore_keys, str) else set(ignore_keys or ())
        self._take_metainfo()
        self._ends: list[int] = []
        if not lazy_init:
            self.full_init()

    def _take_metainfo(self) -> None:
        self.metainfo = self.datasets[0].metainfo
        for number, dataset in enumerate(self.datasets[1:], 1):
            self._check_same_meta(dataset.metainfo, number)

    def _check_same_meta(self, meta: dict, number: int) -> None:
        for key in sorted({*meta, *self.metainfo} - self.ignore_keys):
            theirs, ours = (np.asarray(m.get(key), dtype=object) for m in (meta, self.metainfo))
            if not np.array_equal(theirs, ours):
                raise ConfigError(
                    f'metainfo[{key!r}] of dataset {number} differs from that of dataset 0: {meta.get(key)} and '
                    f'{self.metainfo.get(key)}. List it in ignore_keys if that is intended.'
                )

    def full_init(self) -> None:
        """Load the annotations of all datasets."""
        if not self._ends:
            for dataset in self.datasets:
                dataset.full_init()
            self._take_metainfo()  # again: some datasets read their classes from their files
            self._ends = list(itertools.accumulate(map(len, self.datasets)))

    def check_image_ids(self) -> None:
        """Refuse datasets for testing that share image ids; in training nothing looks at ids.

        Raises:
            DataError: Some do: metrics tell images by ids, so that the scores would be wrong.
        """
        self.full_init()
        tested = [dataset for dataset in self.datasets if getattr(dataset, 'test_mode', False)]
        owners: dict[str, Dataset] = {}
        for dataset in tested if len(tested) > 1 else ():
            for img_id in dict.fromkeys(same_id(dataset.get_data_info(i).get('img_id')) for i in range(len(dataset))):
                other = owners.setdefault(img_id, dataset)
                if other is not dataset:
                    raise DataError(
                        f'ConcatDataset: {_source(other)} and {_source(dataset)} both have an image {img_id}; metrics '
                        f'tell images by their ids: score each set by metrics of its own, with '
                        f"val_evaluator=dict(type='MultiDatasetsEvaluator', ...), or give the images different ids."
                    )

    def __len__(self) -> int:
        self.full_init()
        return self._ends[-1]

    def part_of(self, idx: int) -> int:
        """Which of the datasets sample ``idx`` is from."""
        self.full_init()
        return bisect.bisect_right(self._ends, idx)

    def locate(self, idx: int) -> tuple[Dataset, int]:
        number = self.part_of(idx)
        return self.datasets[number], idx - (self._ends[number - 1] if number else 0)

    def __getitem__(self, idx: int) -> dict:
        results = super().__getitem__(idx)
        packed = results.get('data_samples') if isinstance(results, dict) else None
        # test-time augmentation packs several versions of an image
        for sample in packed if isinstance(packed, list) else [packed]:
            if isinstance(sample, BaseDataElement):
                sample.set_metainfo({'concat_idx': self._checked_index(idx)})
        return results


@DATASETS.register_module()
class RepeatDataset(_Wrapper):
    """A dataset several times over, so that an epoch of a small one isn't mostly start-up.

    Args:
        dataset: A dataset or a config of one.
        times: How often.
        lazy_init: Load annotations only when they are needed.
    """

    def __init__(self, dataset, times: int, lazy_init: bool = False) -> None:
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise ConfigError(f'times should be positive, got {times!r}; expected a whole number.')
        self.dataset = _build_dataset(dataset)
        self.metainfo = self.dataset.metainfo
        self.times = times
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the annotations."""
        self.dataset.full_init()
        self.metainfo = self.dataset.metainfo  # again: some datasets read their classes from their files

    def __len__(self) -> int:
        return self.times * len(self.dataset)

    def locate(self, idx: int) -> tuple[Dataset, int]:
        return self.dataset, idx % len(self.dataset)


@DATASETS.register_module()
class ClassBalancedDataset(_Wrapper):
    """Repeats images of rare classes (LVIS: A Dataset for Large Vocabulary Instance Segmentation, arXiv:1908.03195).

    With f the share of images that show a class, its images are repeated ceil(max(1, sqrt(oversample_thr / f))) times;
    the rarest class of an image decides.

    Args:
        dataset: A dataset with ``get_cat_ids``, or a config of one.
        oversample_thr: Classes in a smaller share of the images than this are repeated.
        filter_empty_gt: Never repeat images without objects; otherwise they count as a class of their own.
        lazy_init: Load annotations only when they are needed.
    """

    def __init__(self, dataset, oversample_thr: float, filter_empty_gt: bool = True, lazy_init: bool = False) -> None:
        self.dataset = _build_dataset(dataset)
        self.metainfo = self.dataset.metainfo
        self.oversample_thr = oversample_thr
        self.filter_empty_gt = filter_empty_gt
        self.repeat_indices: list[int] = []
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Load the annotations and count the classes."""
        if not self.repeat_indices:
            self.dataset.full_init()
            self.metainfo = self.dataset.metainfo  # again: some datasets read their classes from their files
            factors = repeat_factors(self.dataset, self.oversample_thr, self.filter_empty_gt)
            self.repeat_indices = [i for i, factor in enumerate(factors) for _ in range(math.ceil(factor))]

    def __len__(self) -> int:
        self.full_init()
        return len(self.repeat_indices)

    def locate(self, idx: int) -> tuple[Dataset, int]:
        return self.dataset, self.repeat_indices[idx]


@DATASETS.register_module()
class MultiImageMixDataset(_Wrapper):
    """Runs transforms that combine several images, as Mosaic and MixUp do.

    Such a transform has ``get_indexes(dataset)``, which says what other samples it wants; they are put into the
    sample as ``mix_results`` while it runs.

    Args:
        dataset: A dataset or a config of one, whose pipeline loads the images.
        pipeline: Transforms, or configs of them, to run after that.
        skip_type_keys: Types of transforms to leave out.
        max_refetch: How often to try again a transform that returns None, and then with how many other samples.
        lazy_init: Load annotations only when they are needed.
    """

    def __init__(
        self,
        dataset,
        pipeline: Sequence,
        skip_type_keys: Sequence[str] | None = None,
        max_refetch: int = 15,
        lazy_init: bool = False,
    ) -> None:
        self.dataset = _build_dataset(dataset)
        self.metainfo = self.dataset.metainfo
        self.transforms = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in pipeline]
        check_max_refetch(max_refetch)
        self.max_refetch = max_refetch
        self.update_skip_type_keys(skip_type_keys)
        if not lazy_init:
            self.full_init()

    def update_skip_type_keys(self, skip_type_keys: Sequence[str] | None) -> None:
        """Leave out transforms of these types from now on: used to end a run without Mosaic."""
        self.skip_type_keys = {name.rpartition('.')[2] for name in skip_type_keys or ()}

    def full_init(self) -> None:
        """Load the annotations."""
        self.dataset.full_init()
        self.metainfo = self.dataset.metainfo  # again: some datasets read their classes from their files

    def __len__(self) -> int:
        return len(self.dataset)

    def locate(self, idx: int) -> tuple[Dataset, int]:
        return self.dataset, idx

    def __getitem__(self, idx: int) -> dict:
        """Sample ``idx`` after the pipeline, or another one if a transform gives it up again and again.

        Raises:
            PipelineError: A transform gives up many samples in a row.
        """
        with seeded(idx):
            index = self._checked_index(idx)
            for _ in range(self.max_refetch + 1):
                results, gave_up = self._transformed(index)
                if results is not None:
                    return results
                index = np.random.randint(len(self))
        raise PipelineError(
            f'{gave_up} returned None {self.max_refetch} times for each of {self.max_refetch + 1} samples in a row.'
        )

    def _transformed(self, index: int) -> tuple[dict | None, str | None]:
        """A sample after the pipeline; or None, and the transform that gave it up."""
        results = copy.deepcopy(self.dataset[index])  # which may hand out the same objects again
        for transform in self.transforms:
            name = type(transform).__name__
            if name not in self.skip_type_keys:
                results = self._apply(transform, results)
            if results is None:
                return None, name
        return results, None

    def _apply(self, transform, results: dict) -> dict | None:
        if hasattr(transform, 'get_indexes'):
            wanted = transform.get_indexes(self.dataset)
            wanted = wanted if isinstance(wanted, Sequence) else [wanted]
            results['mix_results'] = [copy.deepcopy(self.dataset[index]) for index in wanted]
        for _ in range(self.max_refetch):
            updated = transform(copy_for(transform, results))  # a failed try may have changed what it was given
            if updated is not None:
                updated.pop('mix_results', None)
                return updated
        return None
