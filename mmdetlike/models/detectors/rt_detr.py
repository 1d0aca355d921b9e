"""RT-DETR: DETRs Beat YOLOs on Real-time Object Detection, arXiv 2304.08069, and D-FINE, arXiv 2410.13842."""

import torch
from torch import Tensor, nn

from mmdetlike.models.heads.query import QueryContext
from mmdetlike.models.layers import build_part
from mmdetlike.models.layers.transformer import DFINEDecoder, FlatPyramid, RTDETRDecoder, flatten_pyramid
from mmdetlike.models.necks import ChannelMapper
from mmdetlike.registry import MODELS

from .deformable_detr import DINO


class EncodedByNeck:
    """A DINO without an encoder, whose queries start from the neck's best pixels; a mixin before that class.

    Args:
        decoder: Arguments of the decoder.
        bbox_head, dn_cfg, num_feature_levels: As of ``DINO``.
        neck_channels: Channels of the neck's maps; as many as queries have where None.
    """

    def __init__(
        self,
        decoder: dict,
        bbox_head: dict,
        dn_cfg: dict | None = None,
        num_feature_levels: int = 3,
        neck_channels: int | None = None,
        **kwargs,
    ) -> None:
        self.neck_channels = neck_channels
        of_dino = dict(encoder={}, with_box_refine=True, as_two_stage=True, num_feature_levels=num_feature_levels)
        super().__init__(dn_cfg, decoder=decoder, bbox_head=bbox_head, **of_dino, **kwargs)

    def build_transformer(self, encoder: dict, decoder: dict) -> None:
        """Make the decoder alone."""
        self.decoder = build_part(decoder, RTDETRDecoder)

    def build_queries(self) -> None:
        dims = self.embed_dims
        inputs = [self.neck_channels or dims] * self.num_feature_levels
        self.input_proj = ChannelMapper(inputs, dims, 1, norm_cfg=dict(type='BN'), act_cfg=None)
        self.build_proposals()

    def flatten(self, feats: tuple[Tensor, ...], context: QueryContext) -> FlatPyramid:
        """All feature maps in one row, without positions: deformable attention has none of pixels."""
        masks = context.padding_masks
        return flatten_pyramid(self.input_proj(feats), masks, lambda mask, input: torch.zeros_like(input))

    def encode(self, feats: tuple[Tensor, ...], context: QueryContext) -> tuple[FlatPyramid, Tensor]:
        """The feature maps in one row, which the neck has encoded already."""
        pyramid = self.flatten(feats, context)
        return pyramid, pyramid.feats

    def query_content(self, pixels: Tensor) -> Tensor:
        """The pixels that were proposed; what the decoder learns of them doesn't change them."""
        return pixels.detach()


@MODELS.register_module()
class RTDETR(EncodedByNeck, DINO):
    """A backbone, ``HybridEncoder`` as neck, ``RTDETRDecoder`` and ``RTDETRHead``; arguments of ``EncodedByNeck``."""


@MODELS.register_module()
class DFINE(EncodedByNeck, DINO):
    """D-FINE: Redefine Regression Task in DETRs as Fine-grained Distribution Refinement, arXiv 2410.13842.

    A backbone, ``DFINEHybridEncoder`` as neck, ``DFINEDecoder`` and ``DFINEHead``; arguments of ``EncodedByNeck``.
    """

    def build_transformer(self, encoder: dict, decoder: dict) -> None:
        """Make a decoder whose edges are the distributions that the head is made for."""
        self.decoder = build_part(decoder, DFINEDecoder, offsets=self.bbox_head.offsets)

    def build_queries(self) -> None:
        super().build_queries()
        # maps that have the width of queries already are not projected
        if self.neck_channels in (None, self.embed_dims):
            self.input_proj = nn.Identity()
