"""What backbones of Hugging Face's ``transformers`` compute, written down so that tests need not have the package.

    python -m tests.tools.huggingface_backbones          # writes tests/data/huggingface/*.json.gz

Weights and images are drawn as in ``huggingface_record``.
"""

import gzip
import json

import torch

from tests.tools.huggingface_record import FOLDER, drawn, images, stored

STAGES = ['stage1', 'stage2', 'stage3', 'stage4']
SIZES = dict(hidden_sizes=[8, 12, 16, 20], depths=[2, 1, 2, 1], out_features=STAGES)
VIT = dict(
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=64,
    pretrain_image_size=32,
    patch_size=8,
    window_size=5,
    window_block_indices=[0, 2],
    use_relative_position_embeddings=True,
    out_features=['stage3'],
)
# name of a recording -> class and settings
BACKBONES = {
    'convnext': ('ConvNext', SIZES),
    'convnextv2': ('ConvNextV2', SIZES),
    'vitdet': ('VitDet', VIT),
}


def record(name: str) -> dict:
    """The recording: the maps of a backbone."""
    import transformers

    kind, settings = BACKBONES[name]
    config = getattr(transformers, f'{kind}Config')(**settings)
    model = getattr(transformers, f'{kind}Backbone')(config).eval()
    for key, tensor in stored(model).items():
        tensor.copy_(drawn(key, list(tensor.shape)))
    with torch.no_grad():
        maps = model(images()).feature_maps
    return dict(
        config=dict(model_type=config.model_type),
        state={key: list(tensor.shape) for key, tensor in stored(model).items()},
        maps=[level.tolist() for level in maps],
    )


def main() -> None:
    for name in BACKBONES:
        with gzip.open(FOLDER / f'{name}.json.gz', 'wt') as file:
            json.dump(record(name), file)


if __name__ == '__main__':
    main()
