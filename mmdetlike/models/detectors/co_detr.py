"""Co-DETR: DETRs with Collaborative Hybrid Assignments Training, arXiv 2211.12860."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from mmdetlike.models.heads.common import supervise_layers
from mmdetlike.models.heads.query import InitialQueries
from mmdetlike.models.layers import ConvModule
from mmdetlike.models.utils import padding_of
from mmdetlike.registry import MODELS
from mmdetlike.structures import SampleList

from .base import weighted_terms
from .deformable_detr import DINO, DeformableDETR


class CollaborativeTraining:
    """A query detector that is trained with auxiliary heads; a mixin before its class.

    The heads see the encoder's maps, and one of half the resolution of the coarsest. They take part in training alone:
    a trained detector costs as much as one without them.

    Args:
        auxiliary_heads: Configs of ``AuxiliaryHead``s, which get width and classes from here.
        lambda_dec: What the losses of the queries that are made of their positives weigh.
        lambda_enc: What their own losses weigh for each decoder layer.
    """

    with_query_positions = False

    def __init__(
        self, *, auxiliary_heads: Sequence[dict], lambda_dec: float = 1.0, lambda_enc: float = 2.0, **settings
    ) -> None:
        super().__init__(**settings)
        self.lambda_dec, self.lambda_enc = lambda_dec, lambda_enc
        dims = self.embed_dims
        sizes = dict(embed_dims=dims, num_classes=self.bbox_head.num_classes, with_positions=self.with_query_positions)
        self.auxiliary_heads = nn.ModuleList(MODELS.build(dict(cfg, **sizes)) for cfg in auxiliary_heads)
        norm_cfg = dict(type='GN', num_groups=max(1, dims // 8))
        self.downsample = ConvModule(dims, dims, 3, stride=2, padding=1, norm_cfg=norm_cfg, act_cfg=None)

    def loss_of_maps(self, x: tuple[Tensor, ...], samples: SampleList) -> dict[str, Tensor]:
        """The detector's losses; those of auxiliary head i as ``aux{i}.*``, of its queries as ``*aux{i}_loss_*``."""
        context = self.build_context(samples, padding_of(samples, x[0].device))
        pyramid, memory = self.encode(x, context)
        queries = self.initial_queries(pyramid, memory, context)
        losses = self.bbox_head.loss(self.decode(queries, pyramid, memory, context))
        maps = pyramid.as_maps(memory)
        maps.append(self.downsample(maps[-1]))
        for i, auxiliary in enumerate(self.auxiliary_heads):
            terms, priors = auxiliary.loss_and_priors(maps, samples)
            losses.update(weighted_terms(terms, self.lambda_enc * len(self.decoder.layers), f'aux{i}.'))
            *start, targets = auxiliary.queries(priors, samples)
            outs = self.decode(InitialQueries(*start), pyramid, memory, context)
            compute_terms = partial(self.bbox_head.losses, targets=targets, context=context)
            terms = supervise_layers(self.bbox_head(outs), compute_terms, prefix=f'aux{i}_')
            losses.update(weighted_terms(terms, self.lambda_dec))
        return losses


@MODELS.register_module()
class CoDeformableDETR(CollaborativeTraining, DeformableDETR):
    """Deformable DETR with auxiliary heads; arguments of ``CollaborativeTraining`` and ``DeformableDETR``."""

    with_query_positions = True


@MODELS.register_module()
class CoDINO(CollaborativeTraining, DINO):
    """DINO with auxiliary heads; arguments of ``CollaborativeTraining`` and ``DINO``."""
