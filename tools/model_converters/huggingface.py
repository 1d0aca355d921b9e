"""Turn a detector of Hugging Face's ``transformers`` into a checkpoint of ours.

    python tools/model_converters/huggingface.py rtdetr_r50vd rtdetr_r50vd.pth

The folder is what ``save_pretrained`` writes or the hub holds: ``config.json`` beside ``model.safetensors`` or
``pytorch_model.bin``. The family is read from ``config.json``: DETR, Conditional DETR, Deformable DETR,
RT-DETR, RT-DETRv2 and D-FINE; ConvNeXt (both versions)
and ViTDet are backbones, whose parameters begin with ``backbone.``.
"""

import json
import re
from pathlib import Path

import torch
from torch import Tensor

from mmdetlike.errors import CheckpointError
from mmdetlike.utils.command import make_parser, run_tool, user_path

# (pattern of a name, what takes its place); the first pattern that matches a name renames it
Rules = list[tuple[str, str]]

NORM = r'(weight|bias|running_mean|running_var|num_batches_tracked)'
# conv and norm of a ConvModule, and of those within a part
CONV_MODULE: Rules = [(rf'norm\.{NORM}', r'bn.\1'), (r'(conv\.weight)', r'\1')]
CONV_MODULES: Rules = [(rf'(.*)\.norm\.{NORM}', r'\1.bn.\2'), (r'(.*\.conv\.weight)', r'\1')]
RESNET: Rules = [
    (r'embedder\.embedder\.(\d)\.convolution\.(.*)', r'stem.{3*\1}.\2'),
    (r'embedder\.embedder\.(\d)\.normalization\.(.*)', r'stem.{3*\1+1}.\2'),
    (r'encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.convolution\.(.*)', r'layer{\1+1}.\2.conv{\3+1}.\4'),
    (r'encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.normalization\.(.*)', r'layer{\1+1}.\2.bn{\3+1}.\4'),
    (r'encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.(?:1\.)?convolution\.(.*)', r'layer{\1+1}.\2.downsample.1.\3'),
    (r'encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.(?:1\.)?normalization\.(.*)', r'layer{\1+1}.\2.downsample.2.\3'),
]
ENCODER_LAYER: Rules = [
    (r'self_attn\.(?:out_proj|o_proj)\.(.*)', r'self_attn.attn.out_proj.\1'),
    (r'self_attn\.([qkv])_proj\.(.*)', r'self_attn.attn.\1_proj.\2'),
    (r'self_attn_layer_norm\.(.*)', r'norms.0.\1'),
    (r'(?:mlp\.)?fc1\.(.*)', r'ffn.layers.0.0.\1'),
    (r'(?:mlp\.)?fc2\.(.*)', r'ffn.layers.1.\1'),
    (r'mlp\.layers\.0\.(.*)', r'ffn.layers.0.0.\1'),
    (r'mlp\.layers\.1\.(.*)', r'ffn.layers.1.\1'),
    (r'final_layer_norm\.(.*)', r'norms.1.\1'),
]
DECODER_LAYER: Rules = [
    (r'encoder_attn\.(.*)', r'cross_attn.\1'),
    (r'encoder_attn_layer_norm\.(.*)', r'norms.1.\1'),
    (r'final_layer_norm\.(.*)', r'norms.2.\1'),
    *ENCODER_LAYER,
]


def within(prefix: str, ours: str, rules: Rules) -> Rules:
    """Rules of names that begin with the pattern ``prefix``, to which ``ours`` answers; its groups come first."""
    groups = re.compile(prefix).groups

    def shift(text: str) -> str:
        return re.sub(r'\\(\d)', lambda m: f'\\{int(m[1]) + groups}', text)

    return [(prefix + pattern, ours + shift(replacement)) for pattern, replacement in rules]


RT_DETR: Rules = [
    *within(r'model\.backbone\.model\.', 'backbone.', RESNET),
    (r'model\.encoder_input_proj\.(\d)\.0\.(.*)', r'neck.input_proj.convs.\1.conv.\2'),
    (r'model\.encoder_input_proj\.(\d)\.1\.(.*)', r'neck.input_proj.convs.\1.bn.\2'),
    *within(r'model\.encoder\.(?:aifi|encoder)\.(\d)\.layers\.(\d)\.', r'neck.encoders.\1.layers.\2.', ENCODER_LAYER),
    *within(r'model\.encoder\.', 'neck.', CONV_MODULES),
    (r'model\.denoising_class_embed\.weight', 'dn_query_generator.label_embedding.weight'),
    (r'model\.enc_output\.0\.(.*)', r'memory_trans_fc.\1'),
    (r'model\.enc_output\.1\.(.*)', r'memory_trans_norm.\1'),
    (r'model\.enc_score_head\.(.*)', r'bbox_head.cls_branches.{layers}.\1'),
    (r'model\.enc_bbox_head\.layers\.(\d)\.(.*)', r'bbox_head.reg_branches.{layers}.{2*\1}.\2'),
    (r'model\.decoder_input_proj\.(\d)\.0\.(.*)', r'input_proj.convs.\1.conv.\2'),
    (r'model\.decoder_input_proj\.(\d)\.1\.(.*)', r'input_proj.convs.\1.bn.\2'),
    *within(r'model\.decoder\.layers\.(\d+)\.', r'decoder.layers.\1.', DECODER_LAYER),
    (r'model\.decoder\.query_pos_head\.(.*)', r'decoder.ref_point_head.\1'),
    (r'(?:model\.decoder\.)?class_embed\.(\d+)\.(.*)', r'bbox_head.cls_branches.\1.\2'),
    (r'(?:model\.decoder\.)?bbox_embed\.(\d+)\.layers\.(\d)\.(.*)', r'bbox_head.reg_branches.\1.{2*\2}.\3'),
]
# a convolution of HGNetV2, whose activation two numbers may follow
HGNET_CONV: Rules = [
    (r'convolution\.(.*)', r'conv.\1'),
    (r'normalization\.(.*)', r'bn.\1'),
    (r'lab\.scale', 'scale'),
    (r'lab\.bias', 'offset'),
]
HGNET_BLOCK = r'encoder\.stages\.(\d)\.blocks\.(\d+)\.'
HGNET: Rules = [
    *within(r'embedder\.(stem\w+)\.', r'stem.\1.', HGNET_CONV),
    *within(r'encoder\.stages\.(\d)\.downsample\.', r'stage{\1+1}.downsample.', HGNET_CONV),
    *within(HGNET_BLOCK + r'layers\.(\d+)\.conv(\d)\.', r'stage{\1+1}.blocks.\2.layers.\3.{\4+-1}.', HGNET_CONV),
    *within(HGNET_BLOCK + r'layers\.(\d+)\.', r'stage{\1+1}.blocks.\2.layers.\3.', HGNET_CONV),
    *within(HGNET_BLOCK + r'aggregation\.0\.', r'stage{\1+1}.blocks.\2.squeeze.', HGNET_CONV),
    *within(HGNET_BLOCK + r'aggregation\.1\.', r'stage{\1+1}.blocks.\2.excite.', HGNET_CONV),
]
FUSION_BLOCK = r'model\.encoder\.((?:fpn|pan)_blocks\.\d)\.'
D_FINE: Rules = [
    *within(r'model\.backbone\.model\.', 'backbone.', HGNET),
    *within(FUSION_BLOCK + r'conv1\.', r'neck.\1.conv_in.', CONV_MODULE),
    *within(FUSION_BLOCK + r'conv4\.', r'neck.\1.conv_out.', CONV_MODULE),
    *within(FUSION_BLOCK + r'conv([23])\.', r'neck.\1.stages.{\2+-2}.1.', CONV_MODULE),
    *within(FUSION_BLOCK + r'csp_rep([12])\.', r'neck.\1.stages.{\2+-1}.0.', CONV_MODULES),
    *within(r'model\.encoder\.(downsample_convs\.\d)\.conv([12])\.', r'neck.\1.{\2+-1}.', CONV_MODULE),
    (r'model\.decoder\.layers\.(\d+)\.gateway\.gate\.(.*)', r'decoder.layers.\1.gate.gate.\2'),
    (r'model\.decoder\.layers\.(\d+)\.gateway\.norm\.(.*)', r'decoder.layers.\1.norms.1.\2'),
    (r'model\.decoder\.pre_bbox_head\.(.*)', r'decoder.initial_box.\1'),
    (r'model\.decoder\.lqe_layers\.(\d+)\.reg_conf\.(.*)', r'bbox_head.quality_branches.\1.\2'),
    *RT_DETR,
]
STAGE = r'encoder\.stages\.(\d)\.layers\.(\d+)\.'
# the ResNet of transformers, and that of timm, whose names are ours
PLAIN_RESNET: Rules = [
    (r'embedder\.embedder\.convolution\.(.*)', r'conv1.\1'),
    (r'embedder\.embedder\.normalization\.(.*)', r'bn1.\1'),
    (STAGE + r'shortcut\.convolution\.(.*)', r'layer{\1+1}.\2.downsample.0.\3'),
    (STAGE + r'shortcut\.normalization\.(.*)', r'layer{\1+1}.\2.downsample.1.\3'),
    (r'((?:conv1|bn1|layer\d)\..*)', r'\1'),
    *RESNET,
]
DETR: Rules = [
    *within(r'model\.backbone\.(?:conv_encoder\.)?model\.', 'backbone.', PLAIN_RESNET),
    (r'model\.input_projection\.(.*)', r'neck.convs.0.conv.\1'),
    (r'model\.query_position_embeddings\.(.*)', r'query_embedding.\1'),
    *within(r'model\.encoder\.layers\.(\d+)\.', r'encoder.layers.\1.', ENCODER_LAYER),
    (
        r'model\.decoder\.layers\.(\d+)\.encoder_attn\.([qkv])_proj\.(.*)',
        r'decoder.layers.\1.cross_attn.attn.\2_proj.\3',
    ),
    (
        r'model\.decoder\.layers\.(\d+)\.encoder_attn\.(?:out_proj|o_proj)\.(.*)',
        r'decoder.layers.\1.cross_attn.attn.out_proj.\2',
    ),
    *within(r'model\.decoder\.layers\.(\d+)\.', r'decoder.layers.\1.', DECODER_LAYER),
    (r'model\.decoder\.layernorm\.(.*)', r'decoder.post_norm.\1'),
    (r'class_labels_classifier\.(.*)', r'bbox_head.fc_cls.\1'),
    (r'bbox_predictor\.layers\.0\.(.*)', r'bbox_head.reg_ffn.layers.0.0.\1'),
    (r'bbox_predictor\.layers\.1\.(.*)', r'bbox_head.reg_ffn.layers.1.\1'),
    (r'bbox_predictor\.layers\.2\.(.*)', r'bbox_head.fc_reg.\1'),
]
# attention whose contents and positions have projections of their own: names of today and of published weights
CONDITIONAL_ATTENTION: Rules = [
    (r'self_attn\.([qk])_(content|pos)_proj\.(.*)', r'self_attn.\1\2_proj.\3'),
    (r'sa_([qk])(content|pos)_proj\.(.*)', r'self_attn.\1\2_proj.\3'),
    (r'(?:self_attn\.|sa_)v_proj\.(.*)', r'self_attn.v_proj.\1'),
    (r'self_attn\.(?:out_proj|o_proj)\.(.*)', r'self_attn.out_proj.\1'),
    (r'(?:encoder_attn\.q_pos_sine|ca_qpos_sine)_proj\.(.*)', r'cross_attn.qpos_sine_proj.\1'),
    (r'encoder_attn\.([qk])_(content|pos)_proj\.(.*)', r'cross_attn.\1\2_proj.\3'),
    (r'ca_([qk])(content|pos)_proj\.(.*)', r'cross_attn.\1\2_proj.\3'),
    (r'(?:encoder_attn\.|ca_)v_proj\.(.*)', r'cross_attn.v_proj.\1'),
    (r'encoder_attn\.(?:out_proj|o_proj)\.(.*)', r'cross_attn.out_proj.\1'),
]
CONDITIONAL_DETR: Rules = [
    *within(r'model\.decoder\.layers\.(\d+)\.', r'decoder.layers.\1.', CONDITIONAL_ATTENTION),
    (r'model\.(decoder\.(?:query_scale|ref_point_head)\..*)', r'\1'),
    *DETR,
]
DEFORMABLE_ATTENTION: Rules = [
    (r'self_attn\.((?:sampling_offsets|attention_weights|value_proj|output_proj)\..*)', r'self_attn.\1'),
    *ENCODER_LAYER,
]
DEFORMABLE_DETR: Rules = [
    *within(r'model\.backbone\.(?:conv_encoder\.)?model\.', 'backbone.', PLAIN_RESNET),
    (r'model\.level_embed', 'level_embed'),
    # the first three levels are maps of the backbone
    (r'model\.input_proj\.([012])\.0\.(.*)', r'neck.convs.\1.conv.\2'),
    (r'model\.input_proj\.([012])\.1\.(.*)', r'neck.convs.\1.gn.\2'),
    (r'model\.input_proj\.(\d)\.0\.(.*)', r'neck.extra_convs.{\1+-3}.conv.\2'),
    (r'model\.input_proj\.(\d)\.1\.(.*)', r'neck.extra_convs.{\1+-3}.gn.\2'),
    (r'model\.query_position_embeddings\.(.*)', r'query_embedding.\1'),
    (r'model\.reference_points\.(.*)', r'reference_points_fc.\1'),
    (r'model\.enc_output\.(.*)', r'memory_trans_fc.\1'),
    (r'model\.enc_output_norm\.(.*)', r'memory_trans_norm.\1'),
    (r'model\.pos_trans\.(.*)', r'pos_trans_fc.\1'),
    (r'model\.pos_trans_norm\.(.*)', r'pos_trans_norm.\1'),
    *within(r'model\.encoder\.layers\.(\d+)\.', r'encoder.layers.\1.', DEFORMABLE_ATTENTION),
    *within(r'model\.decoder\.layers\.(\d+)\.', r'decoder.layers.\1.', DECODER_LAYER),
    (r'(?:model\.decoder\.)?class_embed\.(\d+)\.(.*)', r'bbox_head.cls_branches.\1.\2'),
    (r'(?:model\.decoder\.)?bbox_embed\.(\d+)\.layers\.(\d)\.(.*)', r'bbox_head.reg_branches.\1.{2*\2}.\3'),
]
BLOCK = r'encoder\.stages\.(\d)\.layers\.(\d+)\.'
CONVNEXT: Rules = within(
    r'(?:convnext|convnextv2)?\.?',
    'backbone.',
    [
        (r'embeddings\.patch_embeddings\.(.*)', r'downsample_layers.0.0.\1'),
        (r'embeddings\.layernorm\.(.*)', r'downsample_layers.0.1.\1'),
        (r'encoder\.stages\.(\d)\.downsampling_layer\.(.*)', r'downsample_layers.\1.\2'),
        (BLOCK + r'dwconv\.(.*)', r'stages.\1.\2.depthwise_conv.\3'),
        (BLOCK + r'layernorm\.(.*)', r'stages.\1.\2.norm.\3'),
        (BLOCK + r'pwconv(\d)\.(.*)', r'stages.\1.\2.pointwise_conv\3.\4'),
        (BLOCK + r'grn\.weight', r'stages.\1.\2.grn.gamma'),
        (BLOCK + r'grn\.bias', r'stages.\1.\2.grn.beta'),
        (BLOCK + r'layer_scale_parameter', r'stages.\1.\2.gamma'),
        # the norms of a backbone's outputs, and the one that a classifier has
        (r'hidden_states_norms\.stage(\d)\.(.*)', r'norm{\1+-1}.\2'),
        (r'layernorm\.(.*)', r'norm3.\1'),
    ],
)
VITDET: Rules = within(
    r'(?:vitdet\.)?',
    'backbone.',
    [
        (r'embeddings\.position_embeddings', 'pos_embed'),
        (r'embeddings\.projection\.(.*)', r'patch_embed.proj.\1'),
        (r'encoder\.layer\.(\d+)\.attention\.(.*)', r'blocks.\1.attn.\2'),
        (r'encoder\.layer\.(\d+)\.((?:norm|mlp).*)', r'blocks.\1.\2'),
    ],
)
FAMILIES = {
    'detr': DETR,
    'conditional_detr': CONDITIONAL_DETR,
    'deformable_detr': DEFORMABLE_DETR,
    'rt_detr': RT_DETR,
    'rt_detr_v2': RT_DETR,
    'd_fine': D_FINE,
    'convnext': CONVNEXT,
    'convnextv2': CONVNEXT,
    'vitdet': VITDET,
}
# constants that are computed, and the classifiers of backbones
# those of D-FINE are settings of a config: reg_scale and up of DFINEHead
IGNORED = r'.*\.n(?:um)?_points_scale|model\.decoder\.(?:reg_scale|up)|classifier\..*'


def rename(name: str, rules: Rules, layers: int) -> str:
    """Our name of a parameter; ``layers`` is the number of decoder layers.

    Raises:
        CheckpointError: No rule knows the name.
    """
    for pattern, replacement in rules:
        match = re.fullmatch(pattern, name)
        if match:
            return re.sub(r'\{(.*?)\}', lambda m: str(number(m[1], layers)), match.expand(replacement))
    raise CheckpointError(f'the checkpoint has a parameter {name!r}, which its family is not known to have')


def number(formula: str, layers: int) -> int:
    """The number that ``3*2+1``, ``2+1``, ``2*1`` or ``layers`` stands for."""
    if formula == 'layers':
        return layers
    terms = formula.split('+')
    factors = [int(factor) for factor in terms[0].split('*')]
    product = factors[0] * (factors[1] if len(factors) > 1 else 1)
    return product + sum(int(term) for term in terms[1:])


def join_projections(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put the projections of query, key and value of an attention into the one matrix that torch has for them."""
    joined = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.*\.attn\.)([qkv])_proj\.(weight|bias)', name)
        if match is None:
            joined[name] = value
        elif match[2] == 'q':
            parts = [state[f'{match[1]}{letter}_proj.{match[3]}'] for letter in 'qkv']
            joined[f'{match[1]}in_proj_{match[3]}'] = torch.cat(parts)
    return joined


def repeat_branches(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Give every decoder layer the predicting branches that are stored once where all layers share them."""
    repeated = dict(state)
    for name, value in state.items():
        match = re.fullmatch(r'bbox_head\.(cls|reg)_branches\.0\.(.*)', name)
        if match is None:
            continue
        for layer in range(1, layers):
            repeated.setdefault(f'bbox_head.{match[1]}_branches.{layer}.{match[2]}', value)
    return repeated


def convert_state(state: dict[str, Tensor], config: dict) -> dict[str, Tensor]:
    """Our state of a model of ``transformers`` with this ``config``.

    Raises:
        CheckpointError: The family is unknown, or a parameter of it.
    """
    family = config.get('model_type')
    if family not in FAMILIES:
        raise CheckpointError(f'config.json says model_type={family!r}, one of {sorted(FAMILIES)} is expected')
    layers = config.get('decoder_layers', 0)  # backbones have none
    used = {name: value for name, value in state.items() if not re.fullmatch(IGNORED, name)}
    renamed = {rename(name, FAMILIES[family], layers): value for name, value in used.items()}
    labels = 'dn_query_generator.label_embedding.weight'
    if labels in renamed:  # the last row is that of padding, which is no query here
        renamed[labels] = renamed[labels][:-1]
    renamed = {name: value.flatten() if '.grn.' in name else value for name, value in renamed.items()}
    return join_projections(repeat_branches(renamed, layers))


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """Parameters and config of a folder.

    Raises:
        CheckpointError: A file is missing, or the package that reads it.
    """
    config_file = folder / 'config.json'
    if not config_file.is_file():
        raise CheckpointError(f'{folder} has no config.json: a folder that save_pretrained wrote is expected')
    config = json.loads(config_file.read_text())
    safe = folder / 'model.safetensors'
    pickled = folder / 'pytorch_model.bin'
    if safe.is_file():
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise CheckpointError(f'{safe} is read by the package safetensors: pip install safetensors') from None
        return load_file(safe), config
    if pickled.is_file():
        return torch.load(pickled, map_location='cpu', weights_only=True), config
    raise CheckpointError(f'{folder} has neither model.safetensors nor pytorch_model.bin')


def settings_note(config: dict) -> str | None:
    """What our config must say for the weights to mean the same, where no shape of a parameter would tell."""
    if config.get('model_type') != 'd_fine':
        return None
    edges = f'up={config.get("up", 0.5)}, reg_scale={config.get("reg_scale", 4.0)}'
    return f'The edges of these weights need bbox_head=dict({edges}), as dfine_x has them or the other dfine configs.'


def convert(source: Path, target: Path) -> None:
    """Read the folder ``source``, write the checkpoint ``target``."""
    state, config = read_folder(source)
    names = {int(index): name for index, name in config.get('id2label', {}).items()}
    classes = [names[index] for index in sorted(names)]
    checkpoint = dict(state_dict=convert_state(state, config), meta=dict(dataset_meta=dict(classes=classes)))
    torch.save(checkpoint, target)
    note = settings_note(config)
    if note:
        print(note)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument('source', type=user_path, help='folder with config.json and the weights')
    parser.add_argument('target', type=user_path, help='checkpoint to write')
    args = parser.parse_args()
    convert(args.source, args.target)


if __name__ == '__main__':
    run_tool(main)
