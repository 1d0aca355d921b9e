"""Feed-forward networks of transformers."""

import itertools

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS

from ..activation import build_activation_layer
from ..drop import build_dropout
from ..norm import build_norm_layer


class LayerScale(nn.Module):
    """Multiply each of ``dim`` channels by a learnable factor, at first ``scale`` (CaiT, arXiv 2103.17239)."""

    def __init__(self, dim: int, scale: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` (..., dim), scaled."""
        return x * self.weight


@MODELS.register_module()
class FFN(BaseModule):
    """Fully connected layers applied to each position, with a shortcut (arXiv 1706.03762).

    Args:
        embed_dims: Channels of input and output.
        feedforward_channels: Channels of the hidden layers.
        num_fcs: Number of fully connected layers, at least 2; else ``ConfigError``.
        act_cfg: Activation of the hidden layers.
        ffn_drop: Probability of dropping an element after each layer.
        dropout_layer: Layer before the shortcut is added; ``Dropout`` or ``DropPath``.
        add_identity: Whether there is a shortcut.
        layer_scale_init_value: Initial factor of a learnable scale of each output channel; 0 for no scale.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        feedforward_channels: int = 1024,
        num_fcs: int = 2,
        act_cfg: dict = {'type': 'ReLU', 'inplace': True},  # noqa: B006
        ffn_drop: float = 0.0,
        dropout_layer: dict | None = None,
        add_identity: bool = True,
        init_cfg: dict | None = None,
        layer_scale_init_value: float = 0.0,
    ) -> None:
        super().__init__(init_cfg)
        if num_fcs < 2:
            raise ConfigError(f'num_fcs must be at least 2, but got {num_fcs}.')
        self.embed_dims, self.feedforward_channels, self.num_fcs = embed_dims, feedforward_channels, num_fcs
        widths = [embed_dims] + [feedforward_channels] * (num_fcs - 1)
        hidden = [
            nn.Sequential(nn.Linear(a, b), build_activation_layer(act_cfg), nn.Dropout(ffn_drop))
            for a, b in itertools.pairwise(widths)
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(feedforward_channels, embed_dims), nn.Dropout(ffn_drop))
        self.dropout_layer = build_dropout(dropout_layer) if dropout_layer else nn.Identity()
        self.add_identity = add_identity
        scaled = layer_scale_init_value > 0
        self.gamma2 = LayerScale(embed_dims, scale=layer_scale_init_value) if scaled else nn.Identity()

    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """Apply the layers to ``x`` (..., embed_dims) and add the shortcut ``identity``, by default ``x``."""
        out = self.dropout_layer(self.gamma2(self.layers(x)))
        shortcut = x if identity is None else identity
        return out + shortcut if self.add_identity else out


class MLP(BaseModule):
    """``num_layers`` fully connected layers with ReLU in between, all but the last with ``hidden_dim`` channels."""

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int) -> None:
        super().__init__()
        widths = [input_dim] + [hidden_dim] * (num_layers - 1) + [output_dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., input_dim) to (..., output_dim)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


@MODELS.register_module()
class DynamicConv(BaseModule):
    """Two 1x1 convolutions of region features, with kernels made from each region's own embedding.

    Sparse R-CNN: End-to-End Object Detection with Learnable Proposals, arXiv 2011.12450.

    Args:
        in_channels: Channels of embedding and region features.
        feat_channels: Channels between the two convolutions.
        out_channels: Channels of the output, by default ``in_channels``.
        input_feat_shape: Height and width of the region features.
        with_proj: Whether the result is projected to one vector a region.
        act_cfg, norm_cfg: Activation and norm layer.
    """

    def __init__(
        self,
        in_channels: int = 256,
        feat_channels: int = 64,
        out_channels: int | None = None,
        input_feat_shape: int = 7,
        with_proj: bool = True,
        act_cfg: dict = {'type': 'ReLU', 'inplace': True},  # noqa: B006
        norm_cfg: dict = {'type': 'LN'},  # noqa: B006
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.feat_channels = in_channels, feat_channels
        self.out_channels = out_channels or in_channels
        self.input_feat_shape, self.with_proj = input_feat_shape, with_proj
        self.num_params = (in_channels * feat_channels, self.out_channels * feat_channels)  # of each convolution
        self.dynamic_layer = nn.Linear(in_channels, sum(self.num_params))
        self.norm_in = build_norm_layer(norm_cfg, feat_channels)[1]
        self.norm_out = build_norm_layer(norm_cfg, self.out_channels)[1]
        self.activation = build_activation_layer(act_cfg)
        if with_proj:
            self.fc_layer = nn.Linear(self.out_channels * input_feat_shape**2, self.out_channels)
            self.fc_norm = build_norm_layer(norm_cfg, self.out_channels)[1]

    def forward(self, param_feature: Tensor, input_feature: Tensor) -> Tensor:
        """Filter the features (n, in_channels, h, w) of regions with embeddings (n, in_channels).

        The result is (n, out_channels), without ``with_proj`` (n, h * w, out_channels).
        """
        kernel_in, kernel_out = self.dynamic_layer(param_feature).split(self.num_params, -1)
        # a 1x1 convolution whose kernel differs from region to region is a batch of matrix products
        x = input_feature.flatten(2).transpose(1, 2)
        x = torch.bmm(x, kernel_in.unflatten(1, (self.in_channels, self.feat_channels)))
        x = self.activation(self.norm_in(x))
        x = torch.bmm(x, kernel_out.unflatten(1, (self.feat_channels, self.out_channels)))
        x = self.activation(self.norm_out(x))
        if not self.with_proj:
            return x
        return self.activation(self.fc_norm(self.fc_layer(x.flatten(1))))


def mlp(width: int, num_hidden: int, out_channels: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    hidden = [layer for _ in range(num_hidden) for layer in (nn.Linear(width, width), nn.ReLU(inplace=True))]
    return nn.Sequential(*hidden, nn.Linear(width, out_channels))
