"""What detectors of Hugging Face's ``transformers`` compute, written down so that tests need not have the package.

    python -m tests.tools.huggingface_record          # writes tests/data/huggingface/*.json.gz

Weights and images are drawn by name from fixed seeds, so a recording holds names and shapes of parameters only.
"""

import gzip
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / 'data' / 'huggingface'
IMAGE_SIZE = (64, 96)
# class and cx, cy, w, h in [0, 1] of the objects of two images
OBJECTS = [
    ([0, 2], [[0.3, 0.4, 0.3, 0.4], [0.7, 0.6, 0.5, 0.3]]),
    ([1], [[0.5, 0.5, 0.6, 0.2]]),
]
WIDTHS = {
    'basic': dict(embedding_size=16, hidden_sizes=[16, 32, 64, 128], depths=[2, 2, 2, 2]),
    'bottleneck': dict(embedding_size=8, hidden_sizes=[32, 64, 128, 256], depths=[3, 4, 6, 3]),
}
# name of a recording -> family and the blocks of its backbone
RECORDINGS = {
    'rt_detr_basic': ('rt_detr', 'basic'),
    'rt_detr_bottleneck': ('rt_detr', 'bottleneck'),
    'rt_detr_v2': ('rt_detr_v2', 'basic'),
    'rt_detr_v2_discrete': ('rt_detr_v2', 'basic'),
}
# name of a recording of the last layer alone -> family, stages of its backbone and other settings
LEVELS = ['stage2', 'stage3', 'stage4']
TWO_STAGE = dict(two_stage=True, with_box_refine=True, two_stage_num_proposals=12)
PLAIN = {
    'detr': ('Detr', ['stage4'], {}),
    'conditional_detr': ('ConditionalDetr', ['stage4'], {}),
    'deformable_detr': ('DeformableDetr', LEVELS, {}),
    'deformable_detr_refined': ('DeformableDetr', LEVELS, dict(with_box_refine=True)),
    'deformable_detr_two_stage': ('DeformableDetr', LEVELS, TWO_STAGE),
}
# name of a recording of D-FINE -> settings that differ from those of `build_dfine`, and of its backbone
D_FINE = {
    'd_fine': ({}, {}),
    # as D-FINE-N: two levels; and as D-FINE-X: a wide encoder
    'd_fine_narrow': (
        dict(
            encoder_in_channels=[48, 64],
            encoder_hidden_dim=64,
            decoder_in_channels=[64, 64],
            num_feature_levels=2,
            feat_strides=[16, 32],
            encode_proj_layers=[1],
            decoder_n_points=[3, 2],
            hidden_expansion=0.34,
            depth_mult=0.5,
            reg_scale=8.0,
        ),
        dict(out_features=['stage3', 'stage4'], use_learnable_affine_block=True),
    ),
}
HGNET = dict(
    stem_channels=[3, 8, 16],
    stage_in_channels=[16, 24, 32, 48],
    stage_mid_channels=[8, 8, 12, 16],
    stage_out_channels=[24, 32, 48, 64],
    hidden_sizes=[24, 32, 48, 64],
    stage_num_blocks=[1, 1, 2, 1],
    stage_numb_of_layers=[2, 2, 2, 2],
    out_features=['stage2', 'stage3', 'stage4'],
)
# constants, and what is a setting of our heads
NO_STATE = ('n_points_scale', 'num_points_scale', 'decoder.up', 'decoder.reg_scale')


def drawn(name: str, shape: list[int]) -> Tensor:
    """The value of the parameter or running statistic ``name``."""
    noise = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape, dtype=np.float32)
    leaf = name.rsplit('.', 1)[-1]
    if leaf == 'num_batches_tracked':
        return torch.tensor(0)
    if leaf == 'running_var':
        noise = 1 + 0.1 * np.abs(noise)
    elif leaf == 'running_mean' or leaf == 'bias':
        noise = 0.1 * noise
    elif len(shape) >= 2:
        noise = noise / np.float32(np.sqrt(np.prod(shape[1:])))
    else:
        noise = 1 + 0.1 * noise
    return torch.from_numpy(np.asarray(noise, np.float32))


def images() -> Tensor:
    """Two images (2, 3, H, W) as the network gets them."""
    return drawn('images.running_var', [2, 3, *IMAGE_SIZE]) - 1


def with_drawn_weights(model):
    """The model, its weights replaced by drawn ones."""
    for key, tensor in stored(model).items():
        tensor.copy_(drawn(key, list(tensor.shape)))
    return model


def train_but_norms(model) -> None:
    """Put a model into training, but let its batch norms use what they know."""
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


def build(name: str):
    """The detector of ``transformers`` that a recording is of, with drawn weights."""
    import transformers
    from transformers.models.rt_detr.configuration_rt_detr_resnet import RTDetrResNetConfig

    family, block = RECORDINGS[name]
    stages = dict(layer_type=block, out_features=['stage2', 'stage3', 'stage4'])
    backbone = RTDetrResNetConfig(**stages, **WIDTHS[block])
    method = dict(decoder_method='discrete') if name.endswith('discrete') else {}
    prefix = dict(rt_detr='RTDetr', rt_detr_v2='RTDetrV2')[family]
    config = getattr(transformers, f'{prefix}Config')(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=backbone.hidden_sizes[1:],
        encoder_ffn_dim=48,
        encoder_attention_heads=4,
        d_model=32,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=48,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_n_points=2,
        num_queries=12,
        num_denoising=8,
        num_labels=3,
        **method,
    )
    model = getattr(transformers, f'{prefix}ForObjectDetection')(config)
    return with_drawn_weights(model)


def build_plain(name: str):
    """A detector of ``PLAIN`` with drawn weights."""
    import transformers

    prefix, stages, settings = PLAIN[name]
    backbone = transformers.ResNetConfig(layer_type='bottleneck', out_features=stages, **WIDTHS['bottleneck'])
    config = getattr(transformers, f'{prefix}Config')(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=12,
        num_labels=3,
        **settings,
    )
    model = getattr(transformers, f'{prefix}ForObjectDetection')(config)
    return with_drawn_weights(model)


def record_plain(name: str) -> dict:
    """The recording of a detector of ``PLAIN``: what its last layer predicts."""
    model = build_plain(name).eval()
    with torch.no_grad():
        outs = model(images())
    return dict(
        config=dict(model_type=model.config.model_type, decoder_layers=2),
        state={key: list(tensor.shape) for key, tensor in stored(model).items()},
        logits=outs.logits.tolist(),
        boxes=outs.pred_boxes.tolist(),
    )


def build_dfine(name: str):
    """A D-FINE with drawn weights."""
    import transformers

    settings, backbone = D_FINE[name]
    config = dict(
        encoder_hidden_dim=32,
        encoder_in_channels=HGNET['stage_out_channels'][1:],
        encoder_ffn_dim=48,
        encoder_attention_heads=4,
        d_model=32,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=48,
        decoder_layers=3,
        decoder_attention_heads=4,
        decoder_n_points=[2, 3, 2],
        num_queries=12,
        num_denoising=8,
        num_labels=3,
    )
    config['backbone_config'] = transformers.HGNetV2Config(**HGNET | backbone)
    model = transformers.DFineForObjectDetection(transformers.DFineConfig(**config | settings))
    return with_drawn_weights(model)


def record_dfine(name: str) -> dict:
    """The recording of a D-FINE: what it predicts, all its layers, and the losses of its last layer."""
    model = build_dfine(name).eval()
    with torch.no_grad():
        last = model(images())
    # in training all layers predict, the first one also before it refines edges
    model.config.num_denoising = 0
    train_but_norms(model)
    labels = [dict(class_labels=torch.tensor(classes), boxes=torch.tensor(boxes)) for classes, boxes in OBJECTS]
    outs = model(images(), labels=labels)
    return dict(
        config=dict(model_type=model.config.model_type, decoder_layers=model.config.decoder_layers),
        state={key: list(tensor.shape) for key, tensor in stored(model).items()},
        last_logits=last.logits.tolist(),
        last_boxes=last.pred_boxes.tolist(),
        logits=outs.intermediate_logits.tolist(),
        boxes=outs.intermediate_reference_points.tolist(),
        losses={key: value.item() for key, value in outs.loss_dict.items()},
    )


def stored(model) -> dict[str, Tensor]:
    """The state of a model, each shared parameter under its first name alone, without computed constants."""
    names = {tensor.data_ptr(): key for key, tensor in reversed(model.state_dict().items())}
    state = {key: tensor for key, tensor in model.state_dict().items() if names[tensor.data_ptr()] == key}
    return {key: tensor for key, tensor in state.items() if not key.endswith(NO_STATE)}


def record(name: str) -> dict:
    """The recording: what a detector predicts, and its losses without denoising."""
    model = build(name).eval()
    labels = [dict(class_labels=torch.tensor(classes), boxes=torch.tensor(boxes)) for classes, boxes in OBJECTS]
    with torch.no_grad():
        outs = model(images())
    model.config.num_denoising = 0
    train_but_norms(model)
    losses = model(images(), labels=labels).loss_dict
    return dict(
        config=dict(model_type=model.config.model_type, decoder_layers=model.config.decoder_layers),
        state={key: list(tensor.shape) for key, tensor in stored(model).items()},
        logits=outs.intermediate_logits.tolist(),
        boxes=outs.intermediate_reference_points.tolist(),
        losses={key: value.item() for key, value in losses.items()},
    )


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    recordings = {name: record(name) for name in RECORDINGS}
    recordings.update({name: record_plain(name) for name in PLAIN})
    recordings.update({name: record_dfine(name) for name in D_FINE})
    for name, recorded in recordings.items():
        with gzip.open(FOLDER / f'{name}.json.gz', 'wt') as file:
            json.dump(recorded, file)


if __name__ == '__main__':
    main()
