"""What heads of several pipelines share."""

from mmengine.structures import InstanceData
from torch import Tensor

from mmdetlike.utils.dist import mean_over_ranks


def rare_classes_init(class_layer: str) -> dict:
    """Convolutions by a normal distribution; in ``class_layer`` classes begin at a probability of 0.01."""
    override = dict(type='Normal', name=class_layer, std=0.01, bias_prob=0.01)
    return dict(type='Normal', layer='Conv2d', std=0.01, override=override)


def loss_normalizer(weights: Tensor, least: float = 1.0) -> float:
    """The sum of ``weights``, averaged over processes, which a loss is divided by; not below ``least``."""
    return max(mean_over_ranks(float(weights.sum()), weights.device), least)


def prefix_losses(terms: dict[str, Tensor], layer: int = 0, num_layers: int = 1, prefix: str = '') -> dict[str, Tensor]:
    """The terms of a layer as they appear in the log."""
    before = '' if layer == num_layers - 1 else f'd{layer}.'
    return {f'{before}{prefix}loss_{name}': value for name, value in terms.items()}


def match_queries(assigner, preds: InstanceData, gt_instances: InstanceData, sample) -> tuple[Tensor, Tensor]:
    """The positive queries (p,) of an image and the object of each, counted from 0."""
    result = assigner.assign(preds, gt_instances, img_meta=sample.metainfo)
    queries = (result.gt_inds > 0).nonzero().squeeze(1)
    return queries, result.gt_inds[queries] - 1
