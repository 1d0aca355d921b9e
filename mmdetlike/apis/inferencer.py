"""Inference on pictures in any form, giving predictions as plain data, drawn pictures and files."""

import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn
from tqdm import tqdm

from mmdetlike.apis.cameras import open_source
from mmdetlike.apis.configs import as_config, config_in_checkpoint
from mmdetlike.apis.detector import (
    build_model,
    check_device,
    init_detector,
    load_weights,
    make_ready,
    optimized,
    read_weights,
    set_palette,
)
from mmdetlike.apis.drawing import Look, Outcome, drawn
from mmdetlike.apis.foreign import foreign_detector
from mmdetlike.apis.images import Image, check_channel_order, describe
from mmdetlike.apis.inference import batches, check_batch_size, predict_batch
from mmdetlike.apis.overlap import iterate_ahead, map_ahead
from mmdetlike.apis.pipeline import build_pipeline
from mmdetlike.apis.results import ResultWriter, summarize, to_dict
from mmdetlike.apis.sources import Item, count, download, expand, stream
from mmdetlike.apis.tiles import tiled_loader, tiled_outcome
from mmdetlike.apis.videos import Video
from mmdetlike.datasets.errors import ImageError
from mmdetlike.engine.tiling import Tiling
from mmdetlike.registry import INFERENCERS, SCOPE, VISUALIZERS
from mmdetlike.structures import DetDataSample
from mmdetlike.utils.config import located
from mmdetlike.utils.outputs import is_url
from mmdetlike.utils.published import look_up, published_config
from mmdetlike.visualization import ColorMode, InstanceFollower
from mmdetlike.visualization.pixels import picture_of_pixels

# seconds for which a window waits between two frames: enough to be painted
LIVE = 0.001
_LISTED = 20  # unreadable inputs to name at the end
UNTRAINED = 'no weights were given: the detector is untrained, its predictions are random'
_counter = itertools.count()  # mmengine keeps one visualizer for each name: each inferencer needs a name of its own
# Threads that read and prepare pictures: a GPU is faster than one; beside a network on a CPU, more would only wait.
_READERS = 2
_BATCHES_AHEAD = 2  # read while one is in the network: one may be slow to read
_FINISHED_BEHIND = 4  # pictures at a time that wait to be drawn and written


@INFERENCERS.register_module()
class DetInferencer:
    """Detects objects in pictures and videos.

    Args:
        model: Config file, name of a shipped config, ``Config``, or a detector from ``init_detector``; None to take the
            config that ``weights`` holds.
        weights: File or URL of a checkpoint; where ``model`` is the name of a model whose weights are published, these
            are fetched by default.
        device: Where the model runs; by default the first GPU, or the CPU where there is none.
        scope: Default scope of a config that sets none.
        palette: Colors of classes as ``get_palette`` takes them; ``'none'`` for those of the checkpoint or dataset.
        show_progress: Show a progress bar when there is more than one picture.
        trust_checkpoint: Let the checkpoint hold any object; reading it then runs whatever code it names.
        optimize: As of ``init_detector``; a detector that is given as ``model`` is changed in place.
        tile: Look at pictures in tiles of this edge length in pixels, and at the whole; None for the whole alone.
        overlap: Share of its edge by which a tile overlaps with its neighbors.
        merge: How objects that several tiles show become one: ``'nms'``, ``'nmm'`` or ``'wbf'``; see ``Tiling``.
        color_mode: ``'segmentation'`` (a color for each class), ``'image'`` (one for each object, which it keeps in the
            frames of a video) or ``'image_bw'``; None for what the config's visualizer says.

    Raises:
        FileNotFoundError: There is no such config or checkpoint; close names are listed.
        ConfigError, CheckpointError: The config can't be built, or the checkpoint doesn't fit it.
        TypeError, ValueError: The arguments don't go together.
    """

    def __init__(
        self,
        model: str | Path | Config | dict | nn.Module | None = None,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        scope: str = SCOPE,
        palette: str | list = 'none',
        show_progress: bool = True,
        trust_checkpoint: bool = False,
        optimize: str | None = None,
        tile: int | None = None,
        overlap: float = 0.2,
        merge: str = 'nms',
        color_mode: str | None = None,
    ) -> None:
        self.tiling = None if tile is None else Tiling(tile, overlap, merge)
        if isinstance(model, nn.Module):
            self.model = _ready(model, weights, device, palette)
            if optimize is not None:
                optimized(self.model, optimize)
        elif foreign_detector(model) is not None:
            if weights is None:
                warnings.warn(UNTRAINED, stacklevel=2)
            self.model = init_detector(
                model, weights, palette, device, trust_checkpoint=trust_checkpoint, optimize=optimize
            )
        else:
            device = check_device(device, optimize)
            weights = weights if weights is not None else _published_weights(model)
            loaded = {} if weights is None else read_weights(weights, trust_checkpoint)
            cfg = _config_of(model, loaded, weights, scope)
            self.model = make_ready(_model_with_weights(cfg, loaded, weights), cfg, loaded, palette, device, optimize)
        self.cfg = self.model.cfg
        self.show_progress = show_progress
        self.pipeline = build_pipeline(self.cfg)
        self.visualizer = _build_visualizer(self.cfg, self.model.dataset_meta)
        if color_mode is not None:
            self.visualizer.color_mode = ColorMode.of(color_mode)
        # the video that is looked at, and what numbers its objects
        self._followed: tuple[Video | None, InstanceFollower] = (None, InstanceFollower())

    def __call__(
        self,
        inputs: Image | Iterable[Image],
        batch_size: int = 1,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        no_save_vis: bool = False,
        draw_pred: bool = True,
        pred_score_thr: float = 0.3,
        return_datasamples: bool = False,
        print_result: bool = False,
        no_save_pred: bool = True,
        out_dir: str | Path = '',
        channel_order: str = 'bgr',
    ) -> dict:
        """Detect objects, batch by batch.

        A broken picture among several is reported at the end, its entry is ``dict(error=...)``; a sole one raises. A
        picture on which nothing can be drawn is shown as it is, with a warning.

        Args:
            inputs: Path of a picture, video (as its frames) or folder, glob pattern, URL, array (h, w, 3), uint8,
                tensor (3, h, w), uint8 or from 0 to 1, or PIL image; or a list, generator or stack of these.
            batch_size: Pictures that go through the model at once.
            return_vis: Return the drawn pictures.
            show: Show them in a window.
            wait_time: Seconds for which it stays; 0 until a key is pressed.
            no_save_vis: Write no drawn pictures.
            draw_pred: Draw predictions.
            pred_score_thr: Draw predictions that score this or more; all are returned.
            return_datasamples: Return ``DetDataSample`` instead of dicts.
            print_result: Print what was found in each picture: class, score and box of objects that are drawn.
            no_save_pred: Write no predictions.
            out_dir: Folder for pictures and videos (``vis``) and predictions (``preds``, JSON); none is written if ''.
            channel_order: ``'bgr'`` or ``'rgb'``, of arrays and tensors.

        Returns:
            ``predictions``, a list of dicts from ``to_dict``, and ``visualization``, a list of pictures (h, w, 3), RGB,
            None for broken ones, empty unless ``return_vis``.

        Raises:
            FileNotFoundError: A folder or pattern has no pictures, or a sole path leads nowhere.
            ImageError: The only picture is broken.
            OutputError: An output would replace an input, or nothing can be written to ``out_dir``.
            TypeError, ValueError: An input or argument is of another kind.
        """
        check_batch_size(batch_size)
        check_channel_order(channel_order)
        _check_threshold(pred_score_thr)
        sources = expand(inputs)
        save_vis = bool(out_dir) and not no_save_vis
        save_pred = bool(out_dir) and not no_save_pred
        plain = print_result or save_pred or not return_datasamples
        look = Look(save_vis or return_vis or show, show, wait_time, draw_pred, pred_score_thr, print_result, plain)
        predictions = []
        pictures = []
        failures = []
        with (
            ResultWriter(out_dir, save_vis, save_pred, sources) as writer,
            closing(self._outcomes(sources, batch_size, look.draw, channel_order)) as outcomes,
            closing(self._finished(outcomes, look, writer)) as finished,
        ):
            for outcome, prediction, picture in finished:
                failures += [] if outcome.error is None else [outcome.error]
                predictions.append(outcome.sample if return_datasamples and outcome.sample else prediction)
                pictures += [picture] if return_vis else []
        _report(failures, len(predictions), writer)
        return dict(predictions=predictions, visualization=pictures)

    def stream(
        self,
        inputs: Image | Iterable[Image],
        batch_size: int = 1,
        convert: Callable[[DetDataSample], Any] = to_dict,
        channel_order: str = 'bgr',
    ) -> Iterator:
        """What is found in each picture, in order, one after the other, so that any number of them can be looked at.

        Pictures are read, and predictions converted, while others are in the network.

        Args:
            inputs: As of a call.
            batch_size: Pictures that go through the model at once.
            convert: Makes of a sample with predictions what is wanted; called in a thread.
            channel_order: As of a call.

        Yields:
            What ``convert`` returns; ``dict(error=...)`` for a picture that can't be read.

        Raises:
            FileNotFoundError, ImageError, TypeError, ValueError: As a call.
        """
        check_batch_size(batch_size)
        check_channel_order(channel_order)
        return self._converted(self._outcomes(expand(inputs), batch_size, False, channel_order), convert)

    def _converted(self, outcomes: Iterator[Outcome], convert: Callable[[DetDataSample], Any]) -> Iterator:
        """What ``convert`` makes of outcomes, a thread behind the network."""

        def finish(outcome: Outcome):
            return dict(error=str(outcome.error)) if outcome.error is not None else convert(outcome.sample)

        with closing(outcomes), closing(map_ahead(finish, outcomes, _FINISHED_BEHIND)) as finished:
            yield from finished

    def _finished(
        self, outcomes: Iterable[Outcome], look: Look, writer: ResultWriter
    ) -> Iterator[tuple[Outcome, dict, np.ndarray | None]]:
        """Outcomes with what ``_finish`` makes of them, a thread behind the network."""

        def finish(outcome: Outcome):
            return outcome, *self._finish(outcome, look, writer)

        if look.show:  # windows belong to the main thread
            return (finish(outcome) for outcome in outcomes)
        # one thread, for frames of a video are written in their order; what was predicted before a fault is not lost
        return map_ahead(finish, outcomes, _FINISHED_BEHIND, finish=True)

    def watch(
        self,
        source: int | str | Iterable[np.ndarray],
        pred_score_thr: float = 0.3,
        show: bool = False,
        out_dir: str | Path = '',
        max_frames: int | None = None,
    ) -> Iterator[tuple[dict, np.ndarray]]:
        """Detect objects in frames as they come, for as long as they do; nothing of a frame is kept.

        Args:
            source: Number of a camera, file of a video, address of a stream, or the frames (h, w, 3), uint8, BGR.
            pred_score_thr: Draw predictions that score this or more.
            show: Show each frame in a window.
            out_dir: Folder for the drawn video (``vis``); none is written if ''.
            max_frames: End after so many frames.

        Yields:
            The prediction of a frame, from ``to_dict``, and the drawn frame (h, w, 3), RGB.

        Raises:
            ImageError: The source can't be opened.
            ConfigError: ``max_frames`` isn't positive.
        """
        _check_threshold(pred_score_thr)
        video, frames = open_source(source, max_frames)
        look = Look(True, show, LIVE, True, pred_score_thr, print_result=False, plain=True)
        with ResultWriter(out_dir, bool(out_dir), False) as writer:
            for frame in frames:
                entry = self._prepare(Item(frame, video), True, True, 'bgr')
                for outcome in self._predict([entry], 1):
                    yield self._finish(outcome, look, writer)

    def _numbered(self, outcome: Outcome, score_thr: float) -> DetDataSample:
        """The sample of a frame of a video, its objects numbered as in the last frame where colors tell them apart."""
        video = outcome.item.video
        mode = getattr(self.visualizer, 'color_mode', ColorMode.SEGMENTATION)
        if video is None or mode.is_by_class or 'pred_instances' not in outcome.sample:
            return outcome.sample
        if self._followed[0] is not video:
            self._followed = (video, InstanceFollower())
        sample = outcome.sample.clone()
        shown = sample.pred_instances[sample.pred_instances.scores >= score_thr]
        numbers = self._followed[1](shown)
        shown.instances_ids = torch.from_numpy(numbers)
        sample.pred_instances = shown
        return sample

    def _finish(self, outcome: Outcome, look: Look, writer: ResultWriter) -> tuple[dict, np.ndarray | None]:
        """The prediction as plain data, and the drawn picture if one is wanted, once they are written and printed."""
        prediction = _plain(outcome) if look.plain or outcome.error is not None else {}
        picture = None
        if outcome.error is None:
            numbered = replace(outcome, sample=self._numbered(outcome, look.pred_score_thr)) if look.draw else outcome
            picture = drawn(self.visualizer, numbered, look) if look.draw else None
            writer.write(outcome.item, prediction, picture)
        if look.print_result:
            print(self._in_words(outcome, prediction, look.pred_score_thr))
        return prediction, picture

    def _outcomes(
        self, sources: Iterable, batch_size: int, keep_images: bool, channel_order: str = 'bgr'
    ) -> Iterator[Outcome]:
        """The outcome of each picture, in order; the next ones are read while some are in the network."""
        total = count(sources)
        sole = isinstance(sources, list) and len(sources) == 1
        hidden = not self.show_progress or total == 1
        pictures_at_once = batch_size if self.tiling is None else 1  # else a batch is one of tiles
        # pictures that are cut into tiles may fill the memory: one at a time
        ahead = 0 if self.tiling is not None else _BATCHES_AHEAD * batch_size
        prepare = partial(self._prepare, keep_image=keep_images, sole=sole, channel_order=channel_order)
        with (
            tqdm(total=total, desc='inference', unit='img', disable=hidden) as bar,
            closing(_items(sources, ahead)) as items,
            closing(map_ahead(prepare, items, ahead, _READERS)) as prepared,
        ):
            for entries in batches(prepared, pictures_at_once):
                for outcome in self._predict(entries, batch_size):
                    if sole and outcome.error is not None:
                        raise outcome.error
                    yield outcome
                bar.update(len(entries))

    def _prepare(self, item: Item, keep_image: bool, sole: bool, channel_order: str) -> tuple[Outcome, dict | None]:
        """The input of the model for a picture; None, with the error in the outcome, if it can't be read."""
        load = partial(self._load, item, channel_order)
        try:
            results = load() if self.tiling is None else tiled_loader(load, item.image, not keep_image)
        except (ImageError, TypeError, ValueError) as error:
            if sole:
                raise
            return Outcome(item, error=error), None
        image = picture_of_pixels(results['img']) if keep_image else None
        return Outcome(item, image=image), results if self.tiling is not None else self.pipeline.rest(results)

    def _load(self, item: Item, channel_order: str) -> dict:
        if item.error is not None:
            raise item.error
        if item.video is not None:
            return self.pipeline.load(item.image, 'bgr')
        if is_url(item.image):
            return self.pipeline.load(download(item.image), 'bgr')
        return self.pipeline.load(item.image, channel_order)

    def _predict(self, entries: list[tuple[Outcome, dict | None]], batch_size: int) -> Iterable[Outcome]:
        if self.tiling is not None:
            predict = partial(tiled_outcome, self.model, self.tiling, self.pipeline, batch_size)
            yield from (outcome if entry is None else predict(outcome, entry) for outcome, entry in entries)
            return
        data = [entry for _, entry in entries if entry is not None]
        samples = iter(predict_batch(self.model, data) if data else ())
        for outcome, entry in entries:
            yield outcome if entry is None else Outcome(outcome.item, next(samples), outcome.image)

    def _in_words(self, outcome: Outcome, prediction: dict, score_thr: float) -> str:
        name = outcome.item.video.path if outcome.item.video is not None else describe(outcome.item.image)
        if outcome.error is not None:
            return f'{name}: {outcome.error}'
        return f'{name}: {summarize(prediction, self.model.dataset_meta["classes"], score_thr)}'


def _items(sources: Iterable, ahead: int) -> Iterator[Item]:
    """The pictures of sources; videos of a list are decoded in a thread, a generator runs in that of its owner."""
    return iterate_ahead(stream(sources), ahead) if isinstance(sources, list) else stream(sources)


def _check_threshold(pred_score_thr: float) -> None:
    """Raise a ValueError unless it is a number: scores are compared with it only after the first prediction."""
    if not isinstance(pred_score_thr, Real) or math.isnan(pred_score_thr):
        raise ValueError(f'pred_score_thr must be a number, got {pred_score_thr!r}')


def _ready(model: nn.Module, weights, device, palette) -> nn.Module:
    """Check a detector that was built elsewhere, and put it on its device in eval mode."""
    if weights is not None:
        raise ValueError(
            f'weights={str(weights)!r} were given with a {type(model).__name__} that has its own: give the config '
            'instead of the model, or leave the weights out'
        )
    if getattr(model, 'cfg', None) is None or not (getattr(model, 'dataset_meta', None) or {}).get('classes'):
        raise TypeError(
            f"the {type(model).__name__} needs cfg, for its test pipeline, and dataset_meta['classes']: build it by "
            'init_detector, or set them'
        )
    if palette != 'none' or model.dataset_meta.get('palette') is None:
        set_palette(model, palette)
    return (model if device is None else model.to(check_device(device))).eval()


def _published_weights(model) -> str | None:
    """The address of the published weights of a model that is given by its name; a file may be another model."""
    if not isinstance(model, str) or Path(model).exists():
        return None
    entry = look_up(model)
    return None if entry is None else entry.url


def _config_of(model, loaded: dict, weights, scope: str) -> Config:
    if model is None and weights is None:
        raise ValueError('give a model (a config file, its name or a Config), weights that hold their config, or both')
    if model is None:
        return as_config(config_in_checkpoint(loaded, str(weights)), scope=scope)
    if isinstance(model, (str, Path)):
        model = published_config(model)
    elif not isinstance(model, (Config, dict)):
        raise TypeError(f'model must be a config file, its name, a Config or a detector, got {type(model).__name__}')
    return as_config(model, scope=scope)


def _model_with_weights(cfg: Config, loaded: dict, weights) -> nn.Module:
    model = build_model(cfg)
    if weights is None:
        warnings.warn(UNTRAINED, stacklevel=4)
    else:
        load_weights(model, loaded, str(weights))
    return model


def _build_visualizer(cfg: Config, dataset_meta: dict):
    """The visualizer of a config, under a name of its own and without backends: files are written here."""
    settings = {**(cfg.get('visualizer') or dict(type='DetLocalVisualizer'))}
    settings.update(name=f'inferencer_{next(_counter)}', vis_backends=None, save_dir=None)
    with located(cfg):
        visualizer = VISUALIZERS.build(settings)
    visualizer.dataset_meta = dataset_meta
    return visualizer


def _plain(outcome: Outcome) -> dict:
    return dict(error=str(outcome.error)) if outcome.error is not None else to_dict(outcome.sample)


def _report(failures: Sequence[Exception], total: int, writer: ResultWriter) -> None:
    """Say what couldn't be read and where everything was written."""
    if failures:
        print(f'{len(failures)} of {total} inputs could not be read:')
        for error in failures[:_LISTED]:
            print(f'  {error}')
        if len(failures) > _LISTED:
            print(f'  and {len(failures) - _LISTED} more; their predictions are dict(error=...)')
    if summary := writer.summary():
        print(f'written: {summary}')
