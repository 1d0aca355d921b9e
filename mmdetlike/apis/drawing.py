"""What comes of an input, and how it is drawn."""

import threading
import warnings
from dataclasses import dataclass

import numpy as np

from mmdetlike.apis.images import describe
from mmdetlike.apis.sources import Item
from mmdetlike.structures import DetDataSample
from mmdetlike.visualization import DetLocalVisualizer

# Visualizers of others keep what they have drawn until it is fetched; a lock of theirs could be neither copied nor sent
# to a process.
_drawing = threading.Lock()


@dataclass(frozen=True)
class Look:
    """How the predictions of a call are drawn, shown and printed.

    Args:
        draw: Draw pictures.
        show: Show them in a window.
        wait_time: Seconds for which it stays; 0 until a key is pressed.
        draw_pred: Draw predictions on them.
        pred_score_thr: Draw those that score this or more.
        print_result: Print what was found.
        plain: Predictions are needed as plain data.
    """

    draw: bool
    show: bool
    wait_time: float
    draw_pred: bool
    pred_score_thr: float
    print_result: bool
    plain: bool


@dataclass(frozen=True)
class Outcome:
    """The outcome of one input: a sample with predictions and its picture (h, w, 3), RGB, or an error."""

    item: Item
    sample: DetDataSample | None = None
    image: np.ndarray | None = None
    error: Exception | None = None


def drawn(visualizer, outcome: Outcome, look: Look) -> np.ndarray:
    """The drawn picture; where drawing fails, the picture without its predictions, which are not lost for that."""
    try:
        return _draw(visualizer, outcome, look)
    except Exception as error:
        if look.show:  # most often there is no display, which concerns all pictures
            raise
        name = describe(outcome.item.image)
        warnings.warn(f'the predictions of {name} were not drawn: {type(error).__name__}: {error}', stacklevel=4)
        return outcome.image


def _draw(visualizer, outcome: Outcome, look: Look) -> np.ndarray:
    wanted = dict(draw_gt=False, draw_pred=look.draw_pred, pred_score_thr=look.pred_score_thr)
    sample = _without_hidden(outcome.sample, look.pred_score_thr)
    if _keeps_nothing(visualizer) and not look.show:
        return visualizer.draw_datasample(outcome.image, sample, **wanted)
    name = describe(outcome.item.image)
    with _drawing:
        visualizer.add_datasample(name, outcome.image, sample, show=look.show, wait_time=look.wait_time, **wanted)
        return visualizer.get_image()


def _without_hidden(sample: DetDataSample, score_thr: float) -> DetDataSample:
    """A sample whose encoded masks are those of objects that will be drawn: decoded, each has the picture's size."""
    found = sample.get('pred_instances')
    if found is None or not isinstance(found.get('masks'), list):
        return sample
    sample = sample.clone()
    sample.pred_instances = found[found.scores >= score_thr]
    return sample


def _keeps_nothing(visualizer) -> bool:
    """Whether ``draw_datasample`` does what ``add_datasample`` does: another class may have its own way to draw."""
    method = getattr(visualizer.add_datasample, '__func__', None)
    return method is DetLocalVisualizer.add_datasample
