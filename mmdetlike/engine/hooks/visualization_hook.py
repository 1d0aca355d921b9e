"""Drawing predictions while a model is validated or tested."""

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.visualization import Visualizer
from torch import Tensor

from mmdetlike.datasets.errors import ImageError
from mmdetlike.datasets.transforms.image_io import read_image
from mmdetlike.engine.test_time_aug import images_of_batch
from mmdetlike.registry import HOOKS
from mmdetlike.utils.outputs import OutputFolder, identity
from mmdetlike.visualization.pixels import picture_of_pixels


@HOOKS.register_module()
class DetVisualizationHook(Hook):
    """Draw every ``interval``-th validation batch, and every test image, with its predictions.

    A picture that can't be drawn is left out; the log says why of the first one.

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
        self.draw = draw
        self.interval = interval
        self.score_thr = score_thr
        self.show = show
        self.wait_time = wait_time
        self.test_out_dir = test_out_dir
        self.backend_args = backend_args
        self._outputs: OutputFolder | None = None
        self._failed = False
        self._drawn = 0

    def after_val_iter(self, runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        """Draw the first image of the batch."""
        if self.draw and self.every_n_inner_iters(batch_idx, self.interval):
            # the step alone is the same for all that is drawn in one validation, and would name one file for all
            self._draw(outputs[0], data_batch['inputs'][0], f'val_img_{batch_idx}', runner.iter)

    def before_test_epoch(self, runner) -> None:
        """Find names for the pictures, one for each.

        Raises:
            OutputError: A picture would replace one of the dataset, or nothing can be written to the folder.
        """
        self._drawn = 0
        if not self.draw or self.test_out_dir is None:
            return
        paths = list(picture_paths(runner.test_dataloader.dataset))
        folder = Path(runner.work_dir) / runner.timestamp / Path(self.test_out_dir).expanduser()
        self._outputs = OutputFolder(folder, paths)
        self._outputs.check(self._outputs.name(path, '.png') for path in paths)

    def after_test_iter(self, runner, batch_idx: int, data_batch: dict, outputs: list) -> None:
        """Draw all images of the batch."""
        if not self.draw:
            return
        for sample, image in zip(outputs, images_of_batch(data_batch)):
            self._draw(sample, image, 'test_img', self._drawn, self._outputs)
            self._drawn += 1

    def _draw(self, sample, image, name: str, step: int, outputs: OutputFolder | None = None) -> None:
        """Draw a sample; a picture that fails must not end a training or lose the results of a test."""
        out_file = None
        try:
            picture = original_image(sample, image)
            out_file = None if outputs is None else str(_claimed(outputs, sample))
            Visualizer.get_current_instance().add_datasample(
                name,
                picture,
                data_sample=sample,
                show=self.show,
                wait_time=self.wait_time,
                pred_score_thr=self.score_thr,
                out_file=out_file,
                step=step,
            )
        except Exception as error:
            if out_file is not None:
                _remove_if_empty(Path(out_file))
            self._report(sample, error)

    def _report(self, sample, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            print_log(
                f'{sample_name(sample)} could not be drawn: {type(error).__name__}: {error}. Others that fail are left '
                'out without a word.',
                logger='current',
                level=logging.WARNING,
            )


def _claimed(outputs: OutputFolder, sample) -> Path:
    """The file for the picture of a sample."""
    path = sample.metainfo.get('img_path')
    name = outputs.name(path, '.png') if path else f'{sample_name(sample)}.png'
    return outputs.claim(name, identity(path or sample_name(sample)))


def _remove_if_empty(path: Path) -> None:
    """Take back a file that was claimed but not written."""
    if path.is_file() and path.stat().st_size == 0:
        path.unlink()


def picture_paths(dataset) -> Iterator[str]:
    """Paths of the pictures of a dataset, as far as it knows them."""
    if hasattr(dataset, 'get_data_info'):
        paths = (dataset.get_data_info(i).get('img_path') for i in range(len(dataset)))
        yield from (path for path in paths if path)


def sample_name(sample) -> str:
    """A file name, without ending, for a sample."""
    path = sample.metainfo.get('img_path')
    return Path(path).stem if path else f'image_{sample.metainfo.get("img_id", 0)}'


def original_image(sample, image):
    """The RGB picture (h, w, 3) of a sample in its original size: its file, or else its input (c, h, w), resized."""
    shown = input_picture(image)
    height, width = sample.metainfo.get('ori_shape', shown.shape[:2])[:2]
    picture = _picture_on_disk(sample.metainfo.get('img_path'))
    if picture is not None and picture.shape[:2] == (height, width):  # else it was turned by the pipeline
        return picture
    return shown if shown.shape[:2] == (height, width) else cv2.resize(shown, (width, height))


def input_picture(image: Tensor):
    """The RGB picture (h, w, 3) of an input (c, h, w) in the order B, G, R; of few channels, the first one."""
    return picture_of_pixels(image.permute(1, 2, 0).cpu().numpy())


def _picture_on_disk(path: str | None):
    """The RGB picture (h, w, 3) of a file; None if it can't be read."""
    if not path or not Path(path).is_file():
        return None
    try:
        return read_image(path)[..., ::-1].copy()
    except ImageError:
        return None
