"""Encoders and decoders with deformable attention.

Deformable DETR, arXiv 2010.04159; DINO, arXiv 2203.03605; RT-DETR, arXiv 2304.08069; RT-DETRv2, arXiv 2407.17140.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike_ops import MultiScaleDeformableAttention

from ..part import build_part
from .detr_layers import ATTENTION, DecoderLayer, EncoderLayer, TransformerDecoder, TransformerEncoder
from .ffn import MLP
from .positional_encoding import coordinate_to_encoding
from .pyramid import FlatPyramid


class DeformableEncoderLayer(EncoderLayer):
    """An encoder layer whose pixels attend to a few points in each level of the pyramid."""

    def build_self_attention(self, cfg: dict | None) -> nn.Module:
        return build_part(cfg, MultiScaleDeformableAttention, ATTENTION, batch_first=True)


class DeformableDecoderLayer(DecoderLayer):
    """A decoder layer whose queries attend to a few points around their references in each level of the pyramid."""

    def build_cross_attention(self, cfg: dict | None) -> nn.Module:
        return build_part(cfg, MultiScaleDeformableAttention, ATTENTION, batch_first=True)


class DeformableEncoder(TransformerEncoder):
    """Encoder layers with deformable attention among the pixels of a pyramid; arguments of ``TransformerEncoder``."""

    layer_class = DeformableEncoderLayer

    def attention_inputs(self, pyramid: FlatPyramid) -> dict[str, Tensor | None]:
        """The centers of pixels, around which each samples, and the levels to sample from."""
        return dict(reference_points=pyramid.reference_points(), **pyramid.sampling())


class DeformableDecoder(TransformerDecoder):
    """Decoder layers that look around reference points, which each layer may refine.

    Args:
        num_layers, layer_cfg: As of ``LayerStack``.
        post_norm_cfg, return_intermediate: Must be None and True; else ``ConfigError``.
    """

    layer_class = DeformableDecoderLayer
    reference_eps = 1e-5
    looks_forward_twice = False

    def __init__(
        self,
        num_layers: int,
        layer_cfg: dict | Sequence[dict],
        post_norm_cfg: dict | None = None,
        return_intermediate: bool = True,
        init_cfg: dict | None = None,
    ) -> None:
        if post_norm_cfg is not None or not return_intermediate:
            raise ConfigError(
                f'a deformable decoder has no post_norm_cfg and returns all layers, got {post_norm_cfg} and '
                f'return_intermediate={return_intermediate}'
            )
        super().__init__(num_layers, layer_cfg, post_norm_cfg, return_intermediate, init_cfg)

    def attention_inputs(
        self, layer: int, query: Tensor, references: Tensor, pyramid: FlatPyramid, memory: Tensor
    ) -> dict[str, Tensor | None]:
        """The references in each level, around which queries sample, and the levels to sample from."""
        return dict(value=memory, reference_points=pyramid.in_levels(references), **pyramid.sampling())


class DINODecoder(DeformableDecoder):
    """A decoder that makes positions of queries from their reference boxes, and looks forward twice (DINO)."""

    reference_eps = 1e-3
    looks_forward_twice = True

    def build_heads(self) -> None:
        self.ref_point_head = MLP(self.embed_dims * 2, self.embed_dims, self.embed_dims, 2)
        self.norm = nn.LayerNorm(self.embed_dims)

    def query_positions(self, layer: int, query_pos: Tensor | None, references: Tensor, pyramid: FlatPyramid) -> Tensor:
        """Sine encodings of the reference boxes in the finest level, mapped to the width of queries."""
        # as recorded of the original: relative to the padded batch, of which the finest level knows most exactly
        boxes = pyramid.in_levels(references)[:, :, 0]
        return self.ref_point_head(coordinate_to_encoding(boxes, self.embed_dims // 2))

    def layer_output(self, query: Tensor) -> Tensor:
        return self.norm(query)


class DiscreteDeformableAttention(MultiScaleDeformableAttention):
    """Deformable attention to whole pixels, which asks runtimes for no interpolation (RT-DETRv2, arXiv 2407.17140).

    Sampling offsets get no gradient: a detector is trained with interpolation, and then for a while with this.
    """

    def sample(
        self, value: Tensor, spatial_shapes: Tensor, level_start_index: Tensor, locations: Tensor, weights: Tensor
    ) -> Tensor:
        """Add up pixels of `value` (b, s, h, c) next to `locations` (b, q, h, l, p, 2) by their weights."""
        sizes = spatial_shapes.flip(1)[:, None]
        # the pixel whose index is nearest to the location, as published weights were tuned with
        columns, rows = (locations * sizes + 0.5).long().clamp(min=0).minimum(sizes - 1).unbind(-1)
        indices = rows * sizes[..., 0] + columns + level_start_index[:, None]
        pixels = value.transpose(1, 2)
        batch, queries, heads, _, _ = indices.shape
        order = indices.transpose(1, 2).reshape(batch, heads, -1, 1).expand(-1, -1, -1, value.shape[-1])
        sampled = pixels.gather(2, order).unflatten(2, (queries, -1))
        weighted = sampled * weights.transpose(1, 2).flatten(3)[..., None]
        return weighted.sum(3).transpose(1, 2).flatten(2)


SAMPLING = dict(default=MultiScaleDeformableAttention, discrete=DiscreteDeformableAttention)


class RTDETRDecoderLayer(DeformableDecoderLayer):
    """A decoder layer whose ``cross_attn_cfg`` may say ``method='discrete'``: see ``DiscreteDeformableAttention``.

    Another method than ``'default'`` and that one is a ``ConfigError``.
    """

    def build_cross_attention(self, cfg: dict) -> nn.Module:
        """Multi-scale deformable attention, with interpolation unless ``method`` says otherwise."""
        settings = {**ATTENTION, **cfg, 'batch_first': True}
        method = settings.pop('method', 'default')
        if method not in SAMPLING:
            raise ConfigError(f'method of cross_attn_cfg must be one of {sorted(SAMPLING)}, got {method!r}')
        return SAMPLING[method](**settings)


class RTDETRDecoder(DeformableDecoder):
    """A decoder that makes positions of queries from the four numbers of their boxes, and looks forward twice."""

    layer_class = RTDETRDecoderLayer
    looks_forward_twice = True

    def __init__(self, num_layers: int, layer_cfg: dict | Sequence[dict], init_cfg: dict | None = None) -> None:
        super().__init__(num_layers, layer_cfg, init_cfg=init_cfg)
        self.ref_point_head = MLP(4, self.embed_dims * 2, self.embed_dims, 2)

    def query_positions(self, layer: int, query_pos: Tensor | None, references: Tensor, pyramid: FlatPyramid) -> Tensor:
        return self.ref_point_head(references)
