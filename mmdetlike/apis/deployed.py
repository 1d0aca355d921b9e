"""Detectors that were written by ``tools/deploy.py``, called as any other."""

from pathlib import Path

import torch.nn.functional as F
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdetlike.apis.inferencer import DetInferencer
from mmdetlike.apis.pipeline import dataset_config
from mmdetlike.errors import ConfigError
from mmdetlike.export.artifact import Artifact, read_artifact
from mmdetlike.registry import SCOPE
from mmdetlike.structures import DetDataSample
from mmdetlike.utils.setup_env import register_all_modules


class Detector(DetInferencer):
    """Detects objects in pictures and videos by a program that ``tools/deploy.py`` wrote; see ``load``.

    It is called as ``DetInferencer``, and returns what that does.
    """

    @classmethod
    def load(
        cls,
        folder: str | Path,
        palette: str | list = 'none',
        show_progress: bool = True,
        tile: int | None = None,
        overlap: float = 0.2,
        merge: str = 'nms',
        color_mode: str | None = None,
    ) -> 'Detector':
        """The detector in a folder of ``tools/deploy.py``; it runs on the CPU.

        Args:
            folder: With the program and its manifest.
            palette, show_progress, tile, overlap, merge, color_mode: As of ``DetInferencer``.

        Raises:
            FileNotFoundError: There is none.
            CheckpointError: The manifest is damaged or doesn't fit the program or this torch.
            ConfigError: A package that runs it isn't installed, or its pipeline can't be built.
        """
        model = DeployedModel(read_artifact(folder))
        look = dict(palette=palette, show_progress=show_progress, color_mode=color_mode)
        return cls(model, tile=tile, overlap=overlap, merge=merge, **look)


class DeployedModel(nn.Module):
    """A program with the interface of a detector that ``DetInferencer`` uses.

    Args:
        artifact: The program.
    """

    def __init__(self, artifact: Artifact) -> None:
        super().__init__()
        register_all_modules(init_default_scope_=False)
        self.artifact = artifact
        manifest = artifact.manifest
        self.dataset_meta = dict(classes=tuple(manifest.classes), palette=[tuple(color) for color in manifest.palette])
        dataset = dict(pipeline=manifest.pipeline)
        self.cfg = Config(dict(default_scope=SCOPE, test_dataloader=dict(dataset=dataset)))

    def test_step(self, batch: dict) -> list[DetDataSample]:
        """The samples of a batch with ``pred_instances``, in pixels of the pictures.

        Args:
            batch: ``inputs``, images (3, h, w), and ``data_samples``.
        """
        samples = batch['data_samples']
        for found, sample in zip(self.artifact.detect(batch['inputs']), samples):
            sample.pred_instances = _in_picture(found, sample)
        return samples


def _in_picture(found: dict[str, Tensor], sample: DetDataSample) -> InstanceData:
    """What was found in an image, in pixels of its picture."""
    width_factor, height_factor = sample.metainfo.get('scale_factor', (1.0, 1.0))
    factors = found['boxes'].new_tensor([width_factor, height_factor])
    top, _, left, _ = sample.get('border', (0, 0, 0, 0))  # of images that were padded on all sides
    corner = factors.new_tensor([left, top])
    boxes = (found['boxes'] - corner.repeat(2)) / factors.repeat(2)
    instances = InstanceData(bboxes=boxes, scores=found['scores'], labels=found['labels'])
    if 'keypoints' in found:
        instances.keypoints = (found['keypoints'] - corner) / factors
        instances.keypoint_scores = found['keypoint_scores']
    if 'masks' in found:
        instances.masks = _resized(found['masks'], tuple(sample.ori_shape))
    return instances


def _resized(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Masks (n, h, w) bool at another size."""
    if tuple(masks.shape[1:]) == shape or not len(masks):
        return masks.new_zeros(0, *shape) if not len(masks) else masks
    return F.interpolate(masks[:, None].float(), size=shape, mode='bilinear')[:, 0] >= 0.5


def pipeline_steps(model: nn.Module) -> list[dict]:
    """Transform configs of a detector's test pipeline.

    Raises:
        ConfigError: It has none.
    """
    steps = (dataset_config(model.cfg) or {}).get('pipeline')
    if not steps:
        raise ConfigError(f'{model.cfg.filename or "the config"} has no test_dataloader.dataset.pipeline')
    return steps
