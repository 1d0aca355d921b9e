"""Pretrained vision transformers: weights as their authors published them, renamed for our modules."""

import logging
import math
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule, trunc_normal_init
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmdetlike.errors import ConfigError
from mmdetlike.utils.checkpoint import check_fit

StateDict = dict[str, Tensor]


class PretrainedTransformer(BaseModule):
    """Base of the vision transformers: weights drawn as in the papers, or read from a checkpoint of their authors.

    Args:
        out_indices: Stages whose maps ``forward`` returns; a single one may be given as a number.
        pretrained: Checkpoint to start from, its path or URL; the older spelling of ``init_cfg``.
        convert_weights: Whether that checkpoint may name its parameters as the authors do.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)``, whose type may be left out; None for random weights.

    Transformers take, beside their own arguments, what they need of these:
        pretrain_img_size: Size of the images of the pretraining, which absolute position embeddings have.
        in_channels: Channels of the image.
        mlp_ratio: Ratio of the hidden channels of a feed-forward network to its outer ones.
        qkv_bias: Whether the projections to query, key and value have biases.
        drop_rate: Probability of dropping an element.
        attn_drop_rate: Probability of dropping an attention weight.
        drop_path_rate: Probability of dropping the last block's branches; it rises linearly from 0.
        act_cfg, norm_cfg: Activation and norm layers.
        with_cp: Recompute activations in the backward pass to save memory.

    Raises:
        ConfigError: ``init_cfg`` and ``pretrained`` are given, or ``init_cfg`` names no checkpoint.
    """

    def __init__(
        self, out_indices: int | Sequence[int], pretrained: str | None, convert_weights: bool, init_cfg: dict | None
    ) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        if init_cfg and pretrained:
            raise ConfigError(f'{name} takes either init_cfg or pretrained, not both.')
        if init_cfg and (not isinstance(init_cfg, dict) or 'checkpoint' not in init_cfg):
            raise ConfigError(f'{name} takes an init_cfg that names a checkpoint, or none, but got {init_cfg!r}.')
        self.checkpoint = init_cfg['checkpoint'] if init_cfg else pretrained
        self.out_indices = (out_indices,) if isinstance(out_indices, int) else out_indices
        self.convert_weights = convert_weights

    def init_weights(self) -> None:
        """Load the checkpoint, if there is one, and log what doesn't fit, else draw the weights.

        Linear layers come from a truncated normal distribution of deviation 0.02, biases are 0, layer norms the
        identity; the rest is up to the subclass.

        Raises:
            CheckpointError: The checkpoint can't be read, or nothing in it fits.
        """
        if self.checkpoint is not None:
            self._load(self.checkpoint)
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_init(module, std=0.02, bias=0.0)
            elif isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        self.draw_other_weights()

    def _load(self, checkpoint: str) -> None:
        state = self.fit_weights(backbone_state(CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu')))
        report = check_fit(self, state, checkpoint, strict=False)
        if report:
            print_log(report, 'current', logging.WARNING)
        own = self.state_dict()
        self.load_state_dict({k: v for k, v in state.items() if k in own and own[k].shape == v.shape}, strict=False)

    def draw_other_weights(self) -> None:
        """Initialize what is neither a linear layer nor a layer norm."""
        raise NotImplementedError

    def fit_weights(self, state: StateDict) -> StateDict:
        """Published weights as our modules name them, what belongs to positions resized to ours."""
        raise NotImplementedError


def check_stage_settings(out_indices: Sequence[int], **settings: Sequence) -> None:
    """Raise ``ConfigError`` unless all settings of the stages are of one length, beyond each of ``out_indices``."""
    lengths = {name: len(value) for name, value in settings.items()}
    if len(set(lengths.values())) > 1:
        listed = ', '.join(f'{name}={tuple(value)}' for name, value in settings.items())
        raise ConfigError(f'Each stage needs one value of each setting, but got {listed}.')
    if not all(0 <= i < min(lengths.values()) for i in out_indices):
        raise ConfigError(f'out_indices must be stages in [0, {min(lengths.values())}), but got {tuple(out_indices)}.')


def backbone_state(checkpoint: Mapping) -> StateDict:
    """The parameters of a backbone in its own checkpoint, or in that of a classifier or detector."""
    state = next((checkpoint[key] for key in ('state_dict', 'model') if key in checkpoint), checkpoint)
    state = {key.removeprefix('module.'): value for key, value in state.items()}
    # of a detector only the backbone; a backbone's own checkpoint has no such prefix
    inner = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('backbone.')}
    return inner or state


def resize_sequence(
    pos_embed: Tensor, size: tuple[int, int], old_size: tuple[int, int] | None = None, mode: str = 'bicubic'
) -> Tensor:
    """Resize position embeddings (1, old_size[0] * old_size[1], C) to (1, size[0] * size[1], C), as ``F.interpolate``.

    By default ``old_size`` is ``size`` if there are as many, else that of a square. Further embeddings in front, of
    class tokens, are left out.
    """
    if old_size is None:
        fits = pos_embed.shape[1] == size[0] * size[1]
        old_size = size if fits else (math.isqrt(pos_embed.shape[1]),) * 2
    pixels = pos_embed[:, pos_embed.shape[1] - old_size[0] * old_size[1] :]
    if tuple(old_size) == tuple(size):
        return pixels
    grid = pixels.transpose(1, 2).unflatten(2, old_size)
    return F.interpolate(grid, size, mode=mode, align_corners=False).flatten(2).transpose(1, 2)


# -- Swin ------------------------------------------------------------------------------------------------------------

_SWIN_NAMES = (
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^layers\.', 'stages.'),
    (r'\.attn\.', '.attn.w_msa.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.ffn.layers.1.'),
)
# the classifier, and masks that depend on the size of the image
_SWIN_UNUSED = re.compile(r'^head\.|^norm\.|\.attn_mask$')


def convert_swin(state: StateDict) -> StateDict:
    """Parameters named as by the authors of Swin Transformer (arXiv 2103.14030), as ``SwinTransformer`` names them.

    Where they merge patches, the channels of a patch's four neighbors come one neighbor after the other, column by
    column; here they are interleaved, row by row, and so are the weights. Other names stay as they are.
    """
    if not any(key.startswith('layers.') for key in state):
        return state
    converted = {}
    for key, value in state.items():
        if _SWIN_UNUSED.search(key):
            continue
        if re.search(r'downsample\.(norm|reduction)', key):
            value = interleave_neighbors(value)
        converted[_renamed(key, _SWIN_NAMES)] = value
    return converted


def interleave_neighbors(weight: Tensor) -> Tensor:
    """Reorder the last dimension 4 * C from (column, row, channel) to (channel, row, column)."""
    # theirs is torch.cat of [0::2, 0::2], [1::2, 0::2], [0::2, 1::2], [1::2, 1::2]: the row changes first
    return weight.unflatten(-1, (2, 2, -1)).movedim((-1, -2, -3), (-3, -2, -1)).flatten(-3)


# -- PVT -------------------------------------------------------------------------------------------------------------

_PVT_NAMES = (
    (r'^\.proj\.', '.projection.'),
    (r'\.attn\.proj\.', '.attn.attn.out_proj.'),
    (r'\.mlp\.fc1\.', '.ffn.layers.0.'),
    (r'\.mlp\.dwconv\.dwconv\.', '.ffn.layers.1.'),
)
_PVT_PART = re.compile(r'^(patch_embed|pos_embed|block|norm)(\d)(?:\.(\d+))?(.*)$')
_PVT_PATHS = dict(patch_embed='0', pos_embed='1.0.pos_embed', norm='2')  # within a stage


def convert_pvt(state: StateDict) -> StateDict:
    """Parameters named as by the authors of PVT (arXiv 2102.12122, 2106.13797), as ``PyramidVisionTransformer`` names
    them. Names that aren't theirs stay as they are.
    """
    if not any(key.startswith('patch_embed1.') for key in state):
        return state
    # position embeddings are a block of their own here, and a depthwise convolution shifts what comes after it
    first_block = 1 if 'pos_embed1' in state else 0
    fc2 = 4 if any('.dwconv.' in key for key in state) else 3
    names = (*_PVT_NAMES, (r'\.mlp\.fc2\.', f'.ffn.layers.{fc2}.'))
    converted: StateDict = {}
    for key, value in state.items():
        found = _PVT_PART.match(key)
        if not found:  # class token, last norm, classifier
            continue
        part, stage, block, name = found.groups()
        path = _PVT_PATHS[part] if block is None else f'1.{int(block) + first_block}'
        name = _renamed(name, names)
        if '.ffn.' in name and value.dim() == 2:  # their linear layers are 1x1 convolutions here
            value = value[:, :, None, None]
        converted[f'layers.{int(stage) - 1}.{path}{name}'] = value
    return _join_qkv(converted)


def _join_qkv(state: StateDict) -> StateDict:
    """Put ``attn.q`` and ``attn.kv`` into the one projection of ``nn.MultiheadAttention``."""
    joined = {}
    for key, value in state.items():
        if '.attn.q.' in key:
            name = key.replace('.attn.q.', '.attn.attn.in_proj_')
            joined[name] = torch.cat([value, state[key.replace('.attn.q.', '.attn.kv.')]])
        elif '.attn.kv.' not in key:
            joined[key] = value
    return joined


def _renamed(key: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
