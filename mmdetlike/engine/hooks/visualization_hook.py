"""Predictions drawn while a model is validated or tested."""

from collections.abc import Iterator
from pathlib import Path

import cv2
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.visualization import Visualizer

from mmdetlike.registry import HOOKS
from mmdetlike.utils.outputs import OutputFolder, identity


@HOOKS.register_module()
class DetVisualizationHook(Hook):
    """Draw every ``interval``-th validation batch, and every test image, with its predictions.

    Args:
        draw: Switch it on.
        interval: Batches between two that are drawn in validation.
        score_thr: Draw predictions above this score.
        show: Open a window for each image.
        wait_time: Seconds for which it stays; 0 waits for a key.
        test_out_dir: Folder, below the run's, for pictures of test images, called as `OutputFolder` says.
        backend_args: Kept for configs.
    """

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        score_thr: float = 0.3,
        show: bool = False,
        wait_time: float = 0.0,
        test_out_dir: str | None = None,
        backend_args: dict | None = None,
    ) -> None:
        self.draw, self.interval, self.score_thr = draw, interval, score_thr
        self.show, self.wait_time = show, wait_time
        self.test_out_dir, self.backend_args = test_out_dir, backend_args
        self._outputs: OutputFolder | None = None

    def after_val_iter(self, runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        """Draw the first image of the batch."""
        if self.draw and self.every_n_inner_iters(batch_idx, self.interval):
            self._draw(outputs[0], data_batch['inputs'][0], step=runner.iter, name='val_img')

    def before_test_epoch(self, runner) -> None:
        """Find names for the pictures, one for each.

        Raises:
            OutputError: A picture would replace one of the dataset, or nothing can be written to the folder.
        """
        if not self.draw or self.test_out_dir is None:
            return
        paths = list(picture_paths(runner.test_dataloader.dataset))
        self._outputs = OutputFolder(Path(runner.work_dir) / runner.timestamp / self.test_out_dir, paths)
        self._outputs.check(self._outputs.name(path, '.png') for path in paths)

    def after_test_iter(self, runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        """Draw all images of the batch."""
        if not self.draw:
            return
        for i, (sample, image) in enumerate(zip(outputs, data_batch['inputs'])):
            out_file = self._out_file(sample)
            self._draw(sample, image, step=batch_idx * len(outputs) + i, name='test_img', out_file=out_file)

    def _out_file(self, sample) -> str | None:
        if self._outputs is None or not is_main_process():  # the visualizer draws there only
            return None
        path = sample.metainfo.get('img_path')
        name = self._outputs.name(path, '.png') if path else f'{sample_name(sample)}.png'
        return str(self._outputs.claim(name, identity(path or sample_name(sample))))

    def _draw(self, sample, image, step: int, name: str, out_file: str | None = None) -> None:
        Visualizer.get_current_instance().add_datasample(
            name,
            original_image(sample, image),
            data_sample=sample,
            show=self.show,
            wait_time=self.wait_time,
            pred_score_thr=self.score_thr,
            out_file=out_file,
            step=step,
        )


def picture_paths(dataset) -> Iterator[str]:
    """Paths of the pictures of a dataset, as far as it tells them."""
    if hasattr(dataset, 'get_data_info'):
        paths = (dataset.get_data_info(i).get('img_path') for i in range(len(dataset)))
        yield from (path for path in paths if path)


def sample_name(sample) -> str:
    """A file name, without ending, for a sample."""
    path = sample.metainfo.get('img_path')
    return Path(path).stem if path else f'image_{sample.metainfo.get("img_id", 0)}'


def original_image(sample, image):
    """The RGB picture (h, w, 3) of a sample in its original size: its file, or else its input (3, h, w), resized."""
    path = sample.metainfo.get('img_path')
    if path and Path(path).is_file():
        return cv2.cvtColor(cv2.imread(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    picture = image.permute(1, 2, 0).byte().cpu().numpy()[..., ::-1].copy()
    height, width = sample.metainfo.get('ori_shape', picture.shape[:2])[:2]
    return picture if picture.shape[:2] == (height, width) else cv2.resize(picture, (width, height))
