"""DETR's transformer as toolbox 2.x builds it, from layers whose operations are listed: arXiv 2005.12872.

Tensors are (length, batch, channels). Our own detectors use ``TransformerEncoder`` and ``TransformerDecoder``.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from ..norm import build_norm_layer
from ..part import build_part
from .attention import MultiheadAttention
from .ffn import FFN

OPERATIONS = ('self_attn', 'cross_attn', 'norm', 'ffn')
LAYER_NORM = dict(type='LN')
RELU = dict(type='ReLU', inplace=True)


# encoders name theirs ``BaseTransformerLayer``, whose arguments are the same
@MODELS.register_module(name=['DetrTransformerDecoderLayer', 'BaseTransformerLayer'])
class DetrTransformerDecoderLayer(BaseModule):
    """Attentions, norms and feed-forward networks in a given order; an encoder's layer is one without ``cross_attn``.

    Args:
        attn_cfgs: Arguments of each attention in the order in which they run, else ``ConfigError``; one dict for all.
        feedforward_channels: Channels inside the feed-forward networks.
        ffn_dropout: Their dropout.
        operation_order: Names out of ``self_attn``, ``cross_attn``, ``norm`` and ``ffn``, else ``ConfigError``. An
            order that begins with ``norm`` has its norms inside the shortcuts.
        act_cfg: Activation of the feed-forward networks.
        norm_cfg: Norm layers.
        ffn_num_fcs: Layers of a feed-forward network.
    """

    def __init__(
        self,
        attn_cfgs: dict | Sequence[dict],
        feedforward_channels: int,
        ffn_dropout: float = 0.0,
        operation_order: Sequence[str] | None = None,
        act_cfg: dict = RELU,
        norm_cfg: dict = LAYER_NORM,
        ffn_num_fcs: int = 2,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.operation_order = tuple(operation_order or ('self_attn', 'norm', 'cross_attn', 'norm', 'ffn', 'norm'))
        if not set(self.operation_order) <= set(OPERATIONS):
            raise ConfigError(f'operation_order must be made of {OPERATIONS}, got {self.operation_order}')
        self.pre_norm = self.operation_order[0] == 'norm'
        count = sum(name.endswith('attn') for name in self.operation_order)
        cfgs = [attn_cfgs] * count if isinstance(attn_cfgs, dict) else list(attn_cfgs)
        if len(cfgs) != count or not count:
            raise ConfigError(f'operation_order {self.operation_order} has {count} attentions, attn_cfgs {len(cfgs)}')
        self.attentions = ModuleList(build_part(cfg, MultiheadAttention) for cfg in cfgs)
        self.embed_dims = self.attentions[0].embed_dims
        network = dict(num_fcs=ffn_num_fcs, ffn_drop=ffn_dropout, act_cfg=act_cfg)
        network.update(embed_dims=self.embed_dims, feedforward_channels=feedforward_channels)
        self.ffns = ModuleList(FFN(**network) for _ in range(self.operation_order.count('ffn')))
        num_norms = self.operation_order.count('norm')
        self.norms = ModuleList(build_norm_layer(norm_cfg, self.embed_dims)[1] for _ in range(num_norms))

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        query_key_padding_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Run the operations.

        Args:
            query, query_pos: (q, b, c) queries and their positions; so is the result.
            key, value, key_pos: (s, b, c) what ``cross_attn`` looks at, what it takes from there, and its positions.
            query_key_padding_mask: (b, q), True where ``self_attn`` must not look.
            key_padding_mask: (b, s), True where ``cross_attn`` must not look.
        """
        attentions = iter(self.attentions)
        norms = iter(self.norms)
        ffns = iter(self.ffns)
        own = dict(query_pos=query_pos, key_pos=query_pos, key_padding_mask=query_key_padding_mask)
        other = dict(query_pos=query_pos, key_pos=key_pos, key_padding_mask=key_padding_mask)
        identity = query
        for name in self.operation_order:
            shortcut = identity if self.pre_norm else query
            if name == 'norm':
                query = next(norms)(query)
                continue
            if name == 'self_attn':
                query = next(attentions)(query, query, query, shortcut, **own)
            elif name == 'cross_attn':
                query = next(attentions)(query, key, value, shortcut, **other)
            else:
                query = next(ffns)(query, shortcut)
            identity = query
        return query


class LayerSequence(BaseModule):
    """``num_layers`` layers of the config ``transformerlayers``, and perhaps a norm behind them.

    Args:
        transformerlayers: Arguments of ``DetrTransformerDecoderLayer``; its ``type`` may be left out.
        num_layers: Number of layers.
        post_norm_cfg: The norm; None for none.
    """

    # else only layers that begin with a norm have one behind them
    always_ends_in_norm = True

    def __init__(
        self,
        transformerlayers: dict,
        num_layers: int,
        post_norm_cfg: dict | None = LAYER_NORM,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.layers = ModuleList(build_part(transformerlayers, DetrTransformerDecoderLayer) for _ in range(num_layers))
        self.embed_dims, self.pre_norm = self.layers[0].embed_dims, self.layers[0].pre_norm
        self.post_norm = None
        if post_norm_cfg is not None and (self.always_ends_in_norm or self.pre_norm):
            self.post_norm = build_norm_layer(post_norm_cfg, self.embed_dims)[1]


@MODELS.register_module()
class DetrTransformerEncoder(LayerSequence):
    """Layers of self-attention; the norm behind them is there where the layers begin with one."""

    always_ends_in_norm = False

    def forward(self, query: Tensor, query_pos: Tensor, query_key_padding_mask: Tensor | None = None) -> Tensor:
        """Encode pixels (s, b, c) at positions (s, b, c), of which a mask (b, s) marks the padding."""
        for layer in self.layers:
            query = layer(query, query_pos=query_pos, query_key_padding_mask=query_key_padding_mask)
        return query if self.post_norm is None else self.post_norm(query)


@MODELS.register_module()
class DetrTransformerDecoder(LayerSequence):
    """Layers whose queries look at each other and at the image.

    Args:
        transformerlayers, num_layers, post_norm_cfg: As of ``LayerSequence``.
        return_intermediate: Whether the queries after each layer are returned, not only those after the last.
    """

    def __init__(
        self,
        transformerlayers: dict,
        num_layers: int,
        post_norm_cfg: dict | None = LAYER_NORM,
        return_intermediate: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(transformerlayers, num_layers, post_norm_cfg, init_cfg)
        self.return_intermediate = return_intermediate

    def forward(self, query: Tensor, **image) -> Tensor:
        """Decode queries (q, b, c) to (1 or num_layers, q, b, c), each with the norm; layers get ``image``."""
        outs = []
        for layer in self.layers:
            query = layer(query, **image)
            outs.append(query)
        kept = torch.stack(outs if self.return_intermediate else outs[-1:])
        return kept if self.post_norm is None else self.post_norm(kept)


@MODELS.register_module()
class Transformer(BaseModule):
    """DETR's encoder and decoder.

    Args:
        encoder, decoder: Their configs, e.g. of a ``DetrTransformerEncoder`` and of a ``DetrTransformerDecoder``.
        init_cfg: Weight initialization; Xavier's, uniform, where None.
    """

    def __init__(self, encoder: dict, decoder: dict, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.encoder = MODELS.build(encoder)
        self.decoder = MODELS.build(decoder)
        self.embed_dims = self.encoder.embed_dims

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, all matrices by Xavier where it is None."""
        super().init_weights()
        if self.init_cfg is not None:
            return
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor, mask: Tensor, query_embed: Tensor, pos_embed: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a map, and decode queries that begin as zeros.

        Args:
            x, mask: Features (b, c, h, w), and (b, h, w) True on padding.
            query_embed, pos_embed: Positions of the queries, (q, c), and of the pixels, (b, c, h, w).

        Returns:
            Queries (1 or num_layers, b, q, c) and the encoded map (b, c, h, w).
        """
        pixels = x.flatten(2).permute(2, 0, 1)
        positions = pos_embed.flatten(2).permute(2, 0, 1)
        padding = mask.flatten(1)
        query_pos = query_embed[:, None].expand(-1, len(x), -1)
        memory = self.encoder(pixels, positions, padding)
        image = dict(key=memory, value=memory, key_pos=positions, key_padding_mask=padding)
        queries = self.decoder(torch.zeros_like(query_pos), query_pos=query_pos, **image)
        return queries.transpose(1, 2), memory.permute(1, 2, 0).view_as(x)


def build_transformer(cfg: dict, default_args: dict | None = None) -> nn.Module:
    """Build a registered transformer; ``default_args`` stand where ``cfg`` says nothing."""
    return MODELS.build(cfg, default_args=default_args)
