"""The visualizer that mmengine's Runner, its hooks and the inferencers draw detections with."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dist import is_main_process, master_only
from mmengine.visualization import Visualizer

from mmdetlike.errors import ConfigError
from mmdetlike.registry import VISUALIZERS
from mmdetlike.structures.panoptic import INSTANCE_OFFSET

from .color_mode import ColorMode
from .contact_sheet import save_image
from .draw import Style, as_canvas, draw_instances
from .instances import panoptic_instances
from .late_figure import DPI, LateFigure
from .palette import Color
from .text import find_font

_FILE_ONLY_BACKENDS = ('agg', 'cairo', 'pdf', 'pgf', 'ps', 'svg', 'template')
ColorSpec = str | Color | Sequence[Color]


def has_display() -> bool:
    """Whether matplotlib can show pictures: in a window or in a notebook."""
    import matplotlib
    from matplotlib import pyplot  # noqa: F401  resolves the backend: 'agg' where there is no display

    return matplotlib.get_backend().lower() not in _FILE_ONLY_BACKENDS


def _wanted(data_sample: Any, kind: str) -> str | None:
    """The field of a sample to draw, ``kind`` being 'gt' or 'pred': panoptic, else instances, else semantic."""
    fields = (f'{kind}_{name}' for name in ('panoptic_seg', 'instances', 'sem_seg'))
    return next((field for field in fields if data_sample is not None and field in data_sample), None)


@VISUALIZERS.register_module()
class DetLocalVisualizer(Visualizer):
    """Draws ground truth and predictions of a ``DetDataSample`` and hands the picture to a file, backends or a window.

    Names and colors of classes come from ``dataset_meta`` (``classes``, ``palette``, ``skeleton_links``,
    ``skeleton_colors``).

    Args:
        name: Name of the instance, unique among visualizers.
        image: RGB image (h, w, 3), uint8, to draw on with mmengine's own methods.
        vis_backends: Where ``add_image``, ``add_scalars`` and the like write to; list of configs.
        save_dir: Folder of the backends' files.
        bbox_color: Colors of boxes; what :func:`get_palette` takes; None for the palette of ``dataset_meta``.
        text_color: Color of the text on tags where it is legible; black or white elsewhere.
        mask_color: Colors of masks; what :func:`get_palette` takes; None for those of the boxes.
        line_width: Width of box lines in pixels on an image of 1333 x 800; it follows the image size.
        alpha: Opacity of masks, 0 to 1: half of it for their filling, so that the object stays visible.
        color_mode: 'segmentation' (one color a class), 'image' (one an instance) or 'image_bw' (one an instance, the
            picture gray outside of masks).
        area_threshold: Masks and segments of fewer pixels are left out.
        font: Font of the tags: path of a file (``'fonts/NotoSansSC-Regular.otf'``) or name of an installed family;
            DejaVu Sans by default. Letters that it lacks are drawn in other installed fonts.
        font_size: Of the tags, in pixels; by default it follows the image size and the number of tags.

    Raises:
        ConfigError: There is no such font, or ``font_size`` is no whole number above 0.
    """

    # in place of mmengine's property, which only the main process can read: each process draws its samples
    dataset_meta: dict | None = None

    def __init__(
        self,
        name: str = 'visualizer',
        image: np.ndarray | None = None,
        vis_backends: list[dict] | None = None,
        save_dir: str | None = None,
        bbox_color: ColorSpec | None = None,
        text_color: Color | None = (200, 200, 200),
        mask_color: ColorSpec | None = None,
        line_width: int | float = 3,
        alpha: float = 0.8,
        color_mode: str | ColorMode = 'segmentation',
        area_threshold: float = 0,
        font: str | None = None,
        font_size: int | None = None,
    ) -> None:
        if font_size is not None and (type(font_size) is not int or font_size < 1):
            raise ConfigError(f'font_size={font_size!r} should be a whole number of pixels above 0.')
        super().__init__(name=name, image=image, vis_backends=copy.deepcopy(vis_backends), save_dir=save_dir)
        self.bbox_color = bbox_color
        self.text_color = text_color
        self.mask_color = mask_color
        self.line_width = line_width
        self.alpha = alpha
        self.color_mode = ColorMode.of(color_mode)
        self.area_threshold = area_threshold
        self.font_file = None if font is None else find_font(font)
        self.font_size = font_size
        self.dataset_meta = {}

    def _initialize_fig(self, fig_cfg: dict) -> tuple:
        """Called by mmengine's constructor for the canvas, figure and axes that its own methods draw on."""
        make = super()._initialize_fig
        return LateFigure(lambda: make({**fig_cfg, 'dpi': DPI})).parts()

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
    ) -> None:
        """Draw a sample and show it, write it, or hand it to the backends; all but writing in the main process only.

        Ground truth and prediction are drawn side by side, ground truth on the left, when both are there; of each, the
        panoptic segments where there are some, else the instances, else the classes of pixels.

        Args:
            name: Name of the picture, also the title of the window.
            image: RGB image (h, w, 3), uint8.
            data_sample: ``DetDataSample``; may lack ground truth, predictions or both.
            draw_gt: Whether to draw ``gt_panoptic_seg``, ``gt_instances`` or ``gt_sem_seg``.
            draw_pred: Whether to draw ``pred_panoptic_seg``, ``pred_instances`` or ``pred_sem_seg``.
            show: Whether to show the picture in a window.
            wait_time: Seconds for which the window stays; 0 until a key is pressed.
            out_file: File to write; the backends are not given the picture then.
            pred_score_thr: Predictions that score less are left out.
            step: Step that the backends record.
        """
        if out_file is None and not is_main_process():
            return
        drawn = self.draw_datasample(image, data_sample, draw_gt, draw_pred, pred_score_thr)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            save_image(drawn, out_file)
        else:
            self.add_image(name, drawn, step)

    def draw_datasample(
        self,
        image: np.ndarray,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        pred_score_thr: float = 0.3,
    ) -> np.ndarray:
        """The picture (h, w, 3), RGB, that ``add_datasample`` shows or writes, in any process; nothing is kept of it.

        ``add_datasample`` and ``get_image`` take it through a figure of matplotlib, which takes longer than drawing.

        Args:
            image: RGB image (h, w, 3), uint8.
            data_sample: ``DetDataSample``; may lack ground truth, predictions or both.
            draw_gt: Whether to draw the ground truth.
            draw_pred: Whether to draw predictions.
            pred_score_thr: Predictions that score less are left out.
        """
        wanted = [_wanted(data_sample, kind) for kind, draw in (('gt', draw_gt), ('pred', draw_pred)) if draw]
        halves = [self._draw(image, data_sample, field, pred_score_thr) for field in wanted if field is not None]
        return np.concatenate(halves, axis=1) if halves else as_canvas(image)

    @master_only
    def show(
        self,
        drawn_img: np.ndarray | None = None,
        win_name: str = 'image',
        wait_time: float = 0.0,
        continue_key: str = ' ',
        backend: str = 'matplotlib',
    ) -> Any:
        """Show a picture as mmengine's visualizer does; where there is no display, warn instead of waiting forever."""
        if backend == 'matplotlib' and not has_display():
            warnings.warn('there is no display to show pictures on; pass out_file to write them', stacklevel=2)
            return None
        return super().show(drawn_img, win_name, wait_time, continue_key, backend)

    def _draw(self, image: np.ndarray, data_sample: Any, field: str, score_thr: float) -> np.ndarray:
        meta = self.dataset_meta or {}
        instances = getattr(data_sample, field)
        if field.endswith('_seg'):
            num_classes = len(meta['classes']) if meta.get('classes') is not None else INSTANCE_OFFSET
            instances = panoptic_instances(instances.sem_seg, num_classes)
        style = Style(
            line_width=self.line_width,
            mask_alpha=self.alpha / 2,
            text_color=self.text_color,
            mask_palette=self.mask_color,
            keypoint_links=meta.get('skeleton_links', ()),
            keypoint_link_colors=meta.get('skeleton_colors'),
            color_mode=self.color_mode,
            min_mask_area=self.area_threshold,
            font=self.font_file,
            font_size=self.font_size,
        )
        palette = self.bbox_color if self.bbox_color is not None else meta.get('palette')
        return draw_instances(image, instances, meta.get('classes'), palette, score_thr, style=style)
