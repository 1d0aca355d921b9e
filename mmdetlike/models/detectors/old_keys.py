"""Names of parameters in checkpoints of OpenMMLab 2.x, where they have other ones today, and in those of relatives.

In 2.x transformers are part of the head, and the attentions of a layer are numbered in the order in which they run.
"""

import re
from collections.abc import Sequence

from torch import nn

# pairs of a pattern for the part of a key behind the prefix, and what replaces it
Names = Sequence[tuple[str, str]]

LAYERS: Names = (
    (r'(encoder\.layers\.\d+)\.attentions\.0\.', r'\1.self_attn.'),
    (r'(coder\.layers\.\d+)\.ffns\.0\.', r'\1.ffn.'),
)
SELF_FIRST: Names = (
    (r'(decoder\.layers\.\d+)\.attentions\.0\.', r'\1.self_attn.'),
    (r'(decoder\.layers\.\d+)\.attentions\.1\.', r'\1.cross_attn.'),
)
CROSS_FIRST: Names = (
    (r'(decoder\.layers\.\d+)\.attentions\.0\.', r'\1.cross_attn.'),
    (r'(decoder\.layers\.\d+)\.attentions\.1\.', r'\1.self_attn.'),
)
OF_TRANSFORMER: Names = (
    (r'^bbox_head\.query_embedding\.', 'query_embedding.'),
    (r'^bbox_head\.input_proj\.', 'neck.convs.0.conv.'),
    (r'^bbox_head\.transformer\.level_embeds$', 'level_embed'),
    (r'^bbox_head\.transformer\.reference_points\.', 'reference_points_fc.'),
    (r'^bbox_head\.transformer\.enc_output\.', 'memory_trans_fc.'),
    (r'^bbox_head\.transformer\.enc_output_norm\.', 'memory_trans_norm.'),
    (r'^bbox_head\.transformer\.pos_trans\.', 'pos_trans_fc.'),
    (r'^bbox_head\.transformer\.', ''),
)
OF_DETR: Names = (*OF_TRANSFORMER, *LAYERS, *SELF_FIRST)
OF_MASKFORMER: Names = (*LAYERS, *SELF_FIRST)
OF_MASK2FORMER: Names = (*LAYERS, *CROSS_FIRST)
OF_YOLACT: Names = ((r'^segm_head\.', 'mask_head.segm_branch.'),)
# an RPN that was trained alone has a bbox_head, in a detector of two stages an rpn_head
OF_RPN: Names = ((r'^rpn_head\.', 'bbox_head.'),)
OF_TWO_STAGE: Names = ((r'^bbox_head\.', 'rpn_head.'),)


def rename_old_keys(names: Names, module: nn.Module, state_dict: dict, prefix: str, *args) -> None:
    """A ``load_state_dict`` pre-hook that replaces the patterns ``names`` in keys, in this order."""
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = key[len(prefix) :]
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        # a name of today stays what it is
        if prefix + name not in state_dict:
            state_dict[prefix + name] = state_dict.pop(key)
