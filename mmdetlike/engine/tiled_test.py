"""Changing the config of a test into one that looks at pictures tile by tile."""

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmdetlike.engine.test_time_aug import datasets_with_pipeline
from mmdetlike.engine.tiling import Tiling, Window
from mmdetlike.errors import ConfigError
from mmdetlike.registry import MODELS, TRANSFORMS
from mmdetlike.structures import DetDataSample

TILES_AT_ONCE = 8


def tile_test(cfg: Config, tile: int, overlap: float = 0.2, merge: str = 'nms') -> None:
    """Let the test datasets give pictures as they are, and the model look at them tile by tile.

    Args:
        cfg: Of a run; it is changed.
        tile: See ``Tiling``, as the others.
        overlap: See there.
        merge: See there.

    Raises:
        ConfigError: A pipeline doesn't load a picture first and end with ``PackDetInputs``, or a setting is wrong.
    """
    Tiling(tile, overlap, merge)
    steps = None
    for dataset in datasets_with_pipeline(cfg.test_dataloader.dataset):
        loading, steps = split_pipeline(dataset['pipeline'])
        dataset['pipeline'] = [*loading, dict(steps[-1], type='PackDetInputs')]
    settings = dict(tile=tile, overlap=overlap, merge=merge)
    cfg.model = ConfigDict(type='TiledDetector', module=cfg.model, pipeline=steps, **settings)


def split_pipeline(pipeline: list[dict]) -> tuple[list[dict], list[dict]]:
    """The steps that load a picture and its annotations, and those that make an image of the network of it.

    Raises:
        ConfigError: There is none that loads, or the last one isn't ``PackDetInputs``.
    """
    names = [str(getattr(step['type'], '__name__', step['type'])).rsplit('.', 1)[-1] for step in pipeline]
    if not names or names[-1] != 'PackDetInputs' or not names[0].startswith('Load'):
        raise ConfigError(f'--tile needs a test pipeline from a Load... to PackDetInputs, got {", ".join(names)}')
    loading = [step for step, name in zip(pipeline, names) if name.startswith('Load')]
    return loading, [step for step, name in zip(pipeline, names) if not name.startswith('Load')]


@MODELS.register_module()
class TiledDetector(BaseModel):
    """A detector that looks at pictures tile by tile in testing.

    Args:
        module: The detector, or its config.
        pipeline: Transforms from a tile to an image of the network; ``PackDetInputs`` comes last.
        tile: Edge length of tiles in pixels; see ``Tiling``.
        overlap: Share of it by which tiles overlap.
        merge: How objects that several tiles show become one.
        tiles_at_once: Tiles that go through the detector in one batch.
    """

    def __init__(
        self,
        module: dict | nn.Module,
        pipeline: list[dict],
        tile: int,
        overlap: float = 0.2,
        merge: str = 'nms',
        tiles_at_once: int = TILES_AT_ONCE,
    ) -> None:
        super().__init__()
        self.module = MODELS.build(module) if isinstance(module, dict) else module
        steps = [dict(step) for step in pipeline]
        steps[-1].pop('meta_keys', None)  # what a dataset knows of a picture doesn't hold for its tiles
        self.steps = [TRANSFORMS.build(step) for step in [dict(type='LoadImageFromNDArray'), *steps]]
        self.tiling = Tiling(tile, overlap, merge)
        self.tiles_at_once = tiles_at_once
        # checkpoints are of the detector within
        self.register_load_state_dict_pre_hook(keys_of_module)

    def forward(self, inputs: list[Tensor], data_samples: list[DetDataSample] | None = None, mode: str = 'predict'):
        """Not used: a batch is one of tiles, which ``test_step`` makes."""
        raise ConfigError('a TiledDetector only tests: train its module')

    @torch.no_grad()
    def test_step(self, data: dict) -> list[DetDataSample]:
        """The samples of a batch with ``pred_instances``, in pixels of the pictures.

        Args:
            data: ``inputs``, pictures (3, h, w) from 0 to 255, and ``data_samples``.
        """
        for image, sample in zip(data['inputs'], data['data_samples']):
            pixels = image.permute(1, 2, 0).cpu().numpy()
            found = self.tiling.predict(pixels.shape[:2], self.reader(pixels), self.predict_tiles, self.tiles_at_once)
            sample.pred_instances = found
        return data['data_samples']

    def reader(self, pixels: np.ndarray):
        """From a window of a picture (h, w, 3) to an input of the detector."""

        def read(window: Window) -> dict:
            crop = pixels[window.top : window.bottom, window.left : window.right]
            results = dict(img=np.ascontiguousarray(crop), img_path=None, img_id=0)
            for step in self.steps:
                results = step(results)
            return results

        return read

    def predict_tiles(self, batch: list[dict]) -> list[DetDataSample]:
        """The detector's samples of a batch of tiles."""
        inputs = [entry['inputs'] for entry in batch]
        samples = [entry['data_samples'] for entry in batch]
        return list(self.module.test_step(dict(inputs=inputs, data_samples=samples)))


def keys_of_module(model: TiledDetector, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    """Let a detector's checkpoint name the parameters of the one within a ``TiledDetector``."""
    within = f'{prefix}module.'
    for key in [key for key in state_dict if key.startswith(prefix) and not key.startswith(within)]:
        state_dict[within + key.removeprefix(prefix)] = state_dict.pop(key)
