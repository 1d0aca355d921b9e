"""Transforms made of others."""

import copy
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from mmengine.dataset import Compose

from mmdetlike.datasets.transforms.base import BaseTransform, check_probability
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
            raise ValueError('RandomChoice needs one pipeline at least.')
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
        return {key: [version[key] for version in versions] for key in versions[0]}


@TRANSFORMS.register_module()
class ProposalBroadcaster(BaseTransform):
    """Run transforms on a sample with proposals, which follow the image like the annotated boxes.

    Every geometric transform of ours takes ``proposals`` along, so that this only groups: configs of detectors that are
    given proposals have it.

    Args:
        transforms: The transforms.
    """

    def __init__(self, transforms: Step | Sequence[Step]) -> None:
        self.transforms = build_pipeline(transforms)

    def transform(self, results: dict) -> dict | None:
        return self.transforms(results)
