"""Transforms that run other transforms."""

import copy
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from mmengine.dataset import Compose

from mmdetlike.datasets.transforms.base import BaseTransform, check_probability
from mmdetlike.datasets.transforms.flip import RandomFlip
from mmdetlike.errors import ConfigError
from mmdetlike.registry import TRANSFORMS

Step = dict | Callable[[dict], dict | None]


def build_pipeline(steps: Step | Sequence[Step]) -> Compose:
    """Chain transforms given as configs or callables; one of them may stand for a list of one."""
    steps = steps if isinstance(steps, Sequence) else [steps]
    return Compose([TRANSFORMS.build(step) if isinstance(step, dict) else step for step in steps])


@TRANSFORMS.register_module()
class RandomApply(BaseTransform):
    """Apply transforms with a probability, all or none.

    Args:
        transforms: A transform or a list of them.
        prob: The probability.
    """

    def __init__(self, transforms: Step | Sequence[Step], prob: float = 0.5) -> None:
        self.transforms = build_pipeline(transforms)
        self.prob = check_probability(prob)

    def transform(self, results: dict) -> dict | None:
        return self.transforms(results) if np.random.uniform() < self.prob else results


@TRANSFORMS.register_module()
class RandomChoice(BaseTransform):
    """Apply one of several pipelines.

    Args:
        transforms: Each a transform or a list of them.
        prob: The probability of each; equal if None.

    Raises:
        ValueError: The probabilities don't fit the pipelines or don't sum to 1.
    """

    def __init__(self, transforms: Sequence[Step | Sequence[Step]], prob: Sequence[float] | None = None) -> None:
        if len(transforms) == 0:
            raise ValueError(f'{type(self).__name__} needs one pipeline at least.')
        if prob is not None and (len(prob) != len(transforms) or min(prob) < 0 or abs(sum(prob) - 1) > 1e-6):
            raise ValueError(f'prob must have {len(transforms)} numbers that sum to 1, got {prob}.')
        self.transforms = [build_pipeline(steps) for steps in transforms]
        self.prob = prob

    def transform(self, results: dict) -> dict | None:
        return self.transforms[np.random.choice(len(self.transforms), p=self.prob)](results)


@TRANSFORMS.register_module()
class TestTimeAug(BaseTransform):
    """Make several versions of a sample: one for each way to choose a transform from each list.

    Returns a dict of lists, ``inputs`` and ``data_samples``, over the versions.

    Args:
        transforms: A list of lists of transforms; the last usually packs.

    Raises:
        ConfigError: A version may be mirrored, and its sample doesn't say so: its objects could not be mapped back.
    """

    __test__ = False  # pytest takes it for a test otherwise

    def __init__(self, transforms: Sequence[Sequence[Step]]) -> None:
        if not all(isinstance(choices, Sequence) and len(choices) for choices in transforms):
            raise ValueError(f'TestTimeAug needs a list of lists of transforms, none empty; got {transforms}.')
        self.transforms = transforms
        self._pipelines = [build_pipeline(steps) for steps in itertools.product(*transforms)]

    def transform(self, results: dict) -> dict | None:
        versions = [pipeline(copy.deepcopy(results)) for pipeline in self._pipelines]
        if any(version is None for version in versions):
            return None
        for pipeline, version in zip(self._pipelines, versions):
            _check_mirroring_is_told(pipeline, version)
        return {key: [version[key] for version in versions] for key in versions[0]}


def _check_mirroring_is_told(pipeline: Compose, version: dict) -> None:
    sample = version.get('data_samples')
    mirrors = any(isinstance(step, RandomFlip) for step in pipeline.transforms)
    if sample is not None and mirrors and 'flip' not in sample.metainfo:
        raise ConfigError(
            "TestTimeAug mirrors images, but their samples don't say which ones: put 'flip' and 'flip_direction' into "
            f'meta_keys of PackDetInputs, which are {tuple(sample.metainfo)}'
        )


@TRANSFORMS.register_module()
class ProposalBroadcaster(BaseTransform):
    """Run transforms on a sample with proposals, which follow the image like the annotated boxes.

    Every geometric transform of ours moves ``proposals`` along, so this only runs them: it exists for the configs of
    detectors with precomputed proposals, which have it.

    Args:
        transforms: The transforms.
    """

    def __init__(self, transforms: Step | Sequence[Step]) -> None:
        self.transforms = build_pipeline(transforms)

    def transform(self, results: dict) -> dict | None:
        return self.transforms(results)


@TRANSFORMS.register_module()
class RandomOrder(BaseTransform):
    """Apply all of several transforms, in a random order.

    Args:
        transforms: The transforms.
    """

    def __init__(self, transforms: Sequence[Step]) -> None:
        self.transforms = build_pipeline(transforms).transforms

    def transform(self, results: dict) -> dict | None:
        for index in np.random.permutation(len(self.transforms)):
            results = self.transforms[index](results)
            if results is None:
                return None
        return results


@TRANSFORMS.register_module()
class MultiBranch(BaseTransform):
    """Make several views of a sample, each by a pipeline of its own that ends with packing.

    Returns a dict of dicts, ``inputs`` and ``data_samples`` by branch. Branches without a pipeline have None there, so
    that datasets which lack a branch can share a batch with others; ``MultiBranchDataPreprocessor`` leaves None out.

    Args:
        branch_field: Names of all branches, those of other datasets too.
        branch_pipelines: The pipeline of each branch that this dataset has, by name.

    Raises:
        ConfigError: A pipeline is given for a branch that ``branch_field`` doesn't name, or there is none.
    """

    def __init__(self, branch_field: Sequence[str], **branch_pipelines: Step | Sequence[Step]) -> None:
        unknown = [branch for branch in branch_pipelines if branch not in branch_field]
        if unknown or not branch_pipelines:
            raise ConfigError(
                f'MultiBranch has pipelines for {", ".join(branch_pipelines) or "no branch"}; expected some of '
                f'branch_field, {", ".join(branch_field)}'
            )
        self.branch_field = list(branch_field)
        self.branch_pipelines = {branch: build_pipeline(steps) for branch, steps in branch_pipelines.items()}

    def transform(self, results: dict) -> dict | None:
        views = {branch: pipeline(copy.deepcopy(results)) for branch, pipeline in self.branch_pipelines.items()}
        if any(view is None for view in views.values()):
            return None
        return {
            key: {branch: views.get(branch, {}).get(key) for branch in self.branch_field}
            for key in ('inputs', 'data_samples')
        }
