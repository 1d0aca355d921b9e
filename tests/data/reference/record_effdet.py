"""Records what the package ``effdet`` computes in EfficientDet's pyramid and heads; read by test_efficientdet.py.

    PYTORCH_JIT=0 python tests/data/reference/record_effdet.py tests/data/reference/effdet.npz

Needs ``pip install timm effdet`` (with a torchvision that can be imported); the package is only called, by its names of
modules and parameters. Weights and inputs are drawn from a seed by both sides; the file has the outputs.
"""

import sys
import zlib

import numpy as np
import torch

SHAPES = [(40, 16, 24), (112, 8, 12), (320, 4, 6)]  # of the maps of EfficientNet-B0 for an image of 128 x 192


def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The value of a parameter or buffer of the package, the same on every machine."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith(('running_var', 'bn.weight', 'edge_weights')):
        values = 0.5 + abs(values)
    elif values.ndim == 4:  # a convolution that keeps the variance of its input
        values *= (1 / values[0].size) ** 0.5
    return torch.from_numpy(values)


def draw_maps() -> list[torch.Tensor]:
    """Feature maps of a batch of two."""
    random = np.random.RandomState(1)
    return [torch.from_numpy(random.standard_normal((2, *shape)).astype(np.float32)) for shape in SHAPES]


def main() -> None:
    """Write the outputs of pyramid and heads into the file that the command names."""
    from effdet.config import get_efficientdet_config
    from effdet.efficientdet import EfficientDet

    config = get_efficientdet_config('tf_efficientdet_d0')
    config.update(image_size=(128, 192), num_classes=3, num_scales=1, fpn_channels=8)
    config.update(fpn_cell_repeats=2, box_class_repeats=2)
    model = EfficientDet(config, pretrained_backbone=False).eval()
    for part in (model.fpn, model.class_net, model.box_net):
        values = {name: draw(name, tuple(x.shape)) for name, x in part.state_dict().items() if x.ndim}
        part.load_state_dict(values, strict=False)  # what has no dimension counts batches
    with torch.no_grad():
        pyramid = model.fpn(draw_maps())
        outputs = dict(pyramid=pyramid, classes=model.class_net(pyramid), deltas=model.box_net(pyramid))
    arrays = {f'{name}_{level}': x.numpy() for name, maps in outputs.items() for level, x in enumerate(maps)}
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == '__main__':
    main()
