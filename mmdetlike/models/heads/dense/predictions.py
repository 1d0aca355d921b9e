"""The types that pass through the pipeline of dense heads: predictions, targets, candidates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmdetlike.models.task_modules import Priors, SamplingResult
from mmdetlike.models.utils import best_first, first_of_best
from mmdetlike.structures.bbox import geometry
from mmdetlike.utils.dist import mean_over_ranks

# by name: one value a level or an image, whose sum is trained on, or one of the whole batch
LossTerms = dict[str, list[Tensor] | Tensor]
# one loss term of a level, given the level's rows among the N priors and its positives among the P
LevelTerm = Callable[[slice, Tensor], Tensor]


@dataclass
class FlatPredictions:
    """The predictions of a batch at all priors of all levels.

    Attributes:
        maps: name -> (B, N, channels of one prior), e.g. ``cls_score`` and ``bbox_pred``; also read as attributes.
        priors: Where it is predicted.
        featmap_sizes: Height and width of each level's feature map.
        num_priors: Number of priors of each level; their sum is N.
    """

    maps: dict[str, Tensor]
    priors: Priors
    featmap_sizes: list[tuple[int, int]]
    num_priors: list[int]

    def __getattr__(self, name: str) -> Tensor:
        # by way of `__dict__`: `self.maps` would call this method again where copying asks for it before it is set
        try:
            return self.__dict__['maps'][name]
        except KeyError:
            raise AttributeError(f'this head predicts {list(self.__dict__.get("maps", ()))}, not {name!r}') from None

    def of_image(self, index: int) -> 'FlatPredictions':
        """The predictions for one image, as a batch of one."""
        maps = {name: value[index : index + 1] for name, value in self.maps.items()}
        return replace(self, maps=maps, priors=self.priors.of_image(index))

    def detach(self) -> 'FlatPredictions':
        return replace(self, maps={name: value.detach() for name, value in self.maps.items()})

    def levels(self, pos_inds: Tensor) -> list[tuple[slice, Tensor]]:
        """For each level its rows among the N priors, and its positives as indices into ``pos_inds`` (P,)."""
        level_of_pos = self.priors.level_ids[pos_inds % len(self.priors)]
        bounds = pairwise(accumulate(self.num_priors, initial=0))
        positives = [(level_of_pos == level).nonzero().squeeze(1) for level in range(len(self.num_priors))]
        return [(slice(start, end), of_level) for (start, end), of_level in zip(bounds, positives)]


@dataclass
class DenseTargets:
    """The targets of a batch: what each prior should predict.

    Attributes:
        labels: (B, N) int64 class of each prior, ``num_classes`` for background.
        label_weights: (B, N) weight of each prior in the classification loss, 0 where ignored.
        pos_inds: (P,) indices of the positives among all B * N priors: ``image * N + prior``.
        pos_gt_bboxes: (P, 4) the box of each positive's object, xyxy in pixels, or rotated ones (P, 5).
        pos_priors: The P priors of the positives.
        avg_factor: What sums of losses are divided by, averaged over processes.
        samplings: What was sampled from each image; where ``usable_priors`` chose some, indices count among those.
    """

    labels: Tensor
    label_weights: Tensor
    pos_inds: Tensor
    pos_gt_bboxes: Tensor
    pos_priors: Priors
    avg_factor: float | Tensor
    samplings: list[SamplingResult]

    @property
    def pos_labels(self) -> Tensor:
        """(P,) the class of each positive's object."""
        return self.labels.flatten()[self.pos_inds]

    @property
    def pos_objects(self) -> Tensor:
        """(P,) the object of each positive, counted through all images of the batch."""
        starts = accumulate([sampling.assign_result.num_gts for sampling in self.samplings], initial=0)
        return torch.cat([sampling.pos_assigned_gt_inds + start for sampling, start in zip(self.samplings, starts)])

    @property
    def pos_overlaps(self) -> Tensor:
        """(P,) the overlap of each positive with its object, as the assigner measured it."""
        return torch.cat([sampling.assign_result.max_overlaps[sampling.pos_inds] for sampling in self.samplings])

    @property
    def num_pos(self) -> float | Tensor:
        """Number of positives of the batch, averaged over processes, at least 1."""
        return mean_over_ranks(len(self.pos_inds), self.labels.device, least=1.0)

    def scatter(self, values: Tensor) -> Tensor:
        """(B, N) the positives' ``values`` (P,) at their priors, 0 elsewhere."""
        everywhere = values.new_zeros(self.labels.shape)
        # a view, since `pos_inds` count through all images
        everywhere.view(-1)[self.pos_inds] = values
        return everywhere


def among_all(usable: Tensor | None, inds: Tensor) -> Tensor:
    """Indices among all priors of an image, of ``inds`` (n,) among the ``usable`` ones; None for all of them."""
    return inds if usable is None else usable[inds]


def positive_term(loss: nn.Module, *values: Tensor, avg_factor: float | Tensor) -> LevelTerm:
    """The ``loss`` of a level's positives, of their rows of each of the ``values`` (P, ...) of all positives."""
    return lambda rows, pos: loss(*(value[pos] for value in values), avg_factor=avg_factor)


@dataclass
class Candidates:
    """Boxes of one image that may become results, before and after suppression.

    Attributes:
        scores: (n,) in [0, 1].
        labels: (n,) their classes.
        prior_inds: (n,) the priors that predicted them, of N.
        boxes: (n, 4) xyxy in pixels, or rotated ones (n, 5); None before they are decoded.
    """

    scores: Tensor
    labels: Tensor
    prior_inds: Tensor
    boxes: Tensor | None = None

    def __getitem__(self, inds: Tensor) -> 'Candidates':
        if inds.dtype == torch.bool:  # looked for once, not in every field
            inds = inds.nonzero().squeeze(1)
        boxes = None if self.boxes is None else self.boxes[inds]
        return Candidates(self.scores[inds], self.labels[inds], self.prior_inds[inds], boxes)

    def clipped(self, img_shape: Sequence[int], scale_factor: Sequence[float] | None) -> 'Candidates':
        """Cut to the image, whose size in the boxes' pixels is ``img_shape / scale_factor``, without empty boxes."""
        width_factor, height_factor = (1.0, 1.0) if scale_factor is None else scale_factor[:2]
        boxes = geometry.clip(self.boxes, (img_shape[0] / height_factor, img_shape[1] / width_factor))
        return replace(self, boxes=boxes)[geometry.is_larger(boxes, 0)]


def best_of_levels(
    values: Tensor, num_priors: list[int], cfg: ConfigDict, activate: Callable[[Tensor], Tensor] | None = None
) -> Candidates:
    """The ``nms_pre`` best (prior, class) pairs of each level above ``score_thr``, not yet decoded.

    ``values`` (N, C) are scores, or what ``activate`` makes them of, see ``top_scores``; ``num_priors`` counts those of
    each level, and ``cfg`` is the ``test_cfg``.
    """
    settings = cfg.get('score_thr', 0), cfg.get('nms_pre', -1), activate
    levels = []
    start = 0
    for of_level in values.split(num_priors):
        scores, inds, labels = top_scores(of_level, *settings)
        levels.append((scores, labels, inds + start))
        start += of_level.shape[0]  # a symbol in a program of many sizes
    return Candidates(*(torch.cat(column) for column in zip(*levels)))


def top_scores(
    values: Tensor, threshold: float, limit: int, activate: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The ``limit`` best scores (all if negative) of n priors and C classes above ``threshold``: scores, rows, columns.

    Each of these is (k,), by falling score; of equal ones the first comes first where there are several classes, else
    they come as ``torch.sort`` has them. ``values`` (n, C) are scores, or what ``activate`` makes them of,
    a function of each value that never falls, such as the sigmoid; it sees few of them.
    """
    activate = activate or nn.Identity()
    num_classes = values.shape[1]
    if limit < 0 or num_classes == 1:
        scores = activate(values).flatten()
        inds = best_above(scores, threshold, limit, best_first if num_classes == 1 else first_of_best)
        return scores[inds], inds // num_classes, inds % num_classes
    # the best scores are in the rows whose best scores are the best: a tenth of the work where C is 80
    rows = best_above(activate(values.amax(1)), threshold, limit, first_of_best).sort().values
    scores = activate(values[rows]).flatten()
    inds = best_above(scores, threshold, limit, first_of_best)
    return scores[inds], rows[inds // num_classes], inds % num_classes


def best_above(values: Tensor, threshold: float, limit: int, rank: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Indices of the ``limit`` best (all if negative) of ``values`` (n,) above ``threshold``, as ``rank`` has them."""
    inds = (values > threshold).nonzero().squeeze(1)
    return inds[rank(values[inds], limit)]
