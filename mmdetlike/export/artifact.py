"""An artifact as something to call: its program with the preparation of images around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.errors import CheckpointError, ConfigError
from mmdetlike.export.detection import Normalization
from mmdetlike.export.manifest import NAME, Manifest, read_manifest
from mmdetlike.export.onnx_program import read_onnx
from mmdetlike.export.program import Program
from mmdetlike.export.torch_program import read_aoti, read_torch

READERS = {'torch': read_torch, 'aoti': read_aoti, 'onnx': read_onnx}


@dataclass
class Artifact:
    """A program, and what it takes and returns.

    Args:
        folder: Where it was read from.
        manifest: What it takes and returns.
        program: What is run.
    """

    folder: Path
    manifest: Manifest
    program: Program

    def __post_init__(self) -> None:
        manifest = self.manifest
        self._normalize = Normalization(manifest.mean, manifest.std, manifest.reverse_channels)

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Detect objects in an image; see ``detect``."""
        return self.detect([image])[0]

    @torch.no_grad()
    def detect(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Detect objects in images, in as many at once as the program takes.

        Args:
            images: (3, h, w), pixels from 0 to 255 in the order in which the pipeline loads them.

        Returns:
            For each image ``boxes`` (n, 4) xyxy in pixels of the image, within it, ``scores`` (n,), ``labels`` (n,)
            and, of a detector of masks, ``masks`` (n, h, w) bool; of keypoints ``keypoints`` (n, points, 2) and
            ``keypoint_scores``.

        Raises:
            ConfigError: An image is larger than those that the program takes.
            CheckpointError: The program returns something else than the manifest says.
        """
        results = []
        for start in range(0, len(images), self.manifest.batch_size):
            results += self._detect_at_once(images[start : start + self.manifest.batch_size])
        return results

    def _detect_at_once(self, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """What ``detect`` returns, of as many images as the program takes, or fewer."""
        missing = self.manifest.batch_size - len(images)
        outputs = self.program.run(self.prepared(*images, *[images[0].new_zeros(images[0].shape)] * missing))
        self._check(outputs)
        if self.manifest.batch_size == 1:
            return [_within(outputs, images[0])]
        of_images = ({name: values[i] for name, values in outputs.items()} for i in range(len(images)))
        return list(map(_within, of_images, images))

    def prepared(self, *images: Tensor) -> Tensor:
        """What the program takes of images (3, h, w): (N, 3, H, W), padded at the right and the bottom.

        H and W are those of the program, or the least that it takes, and all images fit into, where it takes a range.

        Raises:
            ConfigError: An image is larger.
        """
        height, width = (max(sides) for sides in zip(*map(self._padded_size, images)))
        return torch.cat([self._padded(image, height, width) for image in images])

    def _padded_size(self, image: Tensor) -> tuple[int, int]:
        """Height and width that the program takes, and an image (3, h, w) fits into."""
        size = self.manifest.sizes.fitting(*image.shape[-2:])
        if size is None:
            height, width = self.manifest.size
            raise ConfigError(
                f'a picture is {image.shape[-2]} x {image.shape[-1]} (height x width) after the pipeline, the program '
                f'in {self.folder} takes {height} x {width} at most: run tools/deploy.py with a larger --size'
            )
        return size

    def _padded(self, image: Tensor, height: int, width: int) -> Tensor:
        """An image (3, h, w) as the program takes it, (1, 3, height, width)."""
        image = image[None].float()
        padding = (0, width - image.shape[-1], 0, height - image.shape[-2])
        if not self.manifest.raw_input:
            return F.pad(self._normalize(image), padding, value=self.manifest.pad_value)
        # pixels that become the padding when the program normalizes them
        fill = self._normalize.std * self.manifest.pad_value + self._normalize.mean
        fill = fill.flip(0) if self.manifest.reverse_channels else fill
        return F.pad(image - fill, padding) + fill

    def _check(self, outputs: dict[str, Tensor]) -> None:
        expected = self.manifest.outputs
        if set(outputs) != set(expected):
            raise CheckpointError(
                f'the program in {self.folder} returns {", ".join(outputs)}; its manifest says {", ".join(expected)}'
            )
        classes = len(self.manifest.classes)
        label = int(outputs['labels'].max()) if outputs['labels'].numel() else 0
        if label >= classes:
            raise CheckpointError(
                f'the program in {self.folder} found class {label}; its manifest names {classes} classes'
            )


def _within(outputs: dict[str, Tensor], image: Tensor) -> dict[str, Tensor]:
    """The objects among a program's rows for an image, without what lies beyond the image."""
    height, width = image.shape[-2:]
    count = int(outputs['count'])
    found = {name: value[:count] for name, value in outputs.items() if name != 'count'}
    low = found['boxes'].new_zeros(4)
    found['boxes'] = found['boxes'].clamp(low, low.new_tensor([width, height, width, height]))
    if 'masks' in found:
        found['masks'] = found['masks'][:, :height, :width]
    return found


def read_artifact(folder: str | Path) -> Artifact:
    """An artifact that ``tools/deploy.py`` wrote.

    Raises:
        FileNotFoundError: There is none.
        CheckpointError: Manifest and program are damaged or don't fit each other, or this torch.
        ConfigError: A package that runs it isn't installed.
    """
    folder = Path(folder).expanduser()
    manifest = read_manifest(folder)
    path = folder / manifest.program
    try:
        program = READERS[manifest.kind](path)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f'{path} was written with torch {manifest.versions.get("torch")} and cannot be read by torch '
            f'{torch.__version__} here: {str(error).strip().splitlines()[0]}'
        ) from error
    if program.sizes != manifest.sizes:
        raise CheckpointError(
            f'{path} takes images of {program.sizes}, but {folder / NAME} says {manifest.sizes} (height x width)'
        )
    _check_facts(path, manifest, program.facts)
    return Artifact(folder, manifest, program)


def _check_facts(path: Path, manifest: Manifest, facts: dict) -> None:
    """Raise a CheckpointError unless a manifest says what its program, at ``path``, was written with."""
    for name, value in facts.items():
        said = len(manifest.classes) if name == 'class_count' else getattr(manifest, name)
        if said != value:
            what = 'the number of classes' if name == 'class_count' else name
            differs = f'{what} is {value!r} in the program, {said!r} in the manifest'
            raise CheckpointError(f'{path} does not fit {path.with_name(NAME)}: {differs}')
