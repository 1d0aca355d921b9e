"""The report of a run: curves, a contact sheet of predictions and a table of where all files are."""

from functools import partial
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.structures import InstanceData
from terminaltables import AsciiTable

from mmdetlike.datasets.transforms import GeometricTransform, LoadAnnotations
from mmdetlike.engine.html_report import write_report
from mmdetlike.engine.test_time_aug import images_of_batch
from mmdetlike.engine.validation_record import ImageRecord, ValidationRecord, boxes_of_sample
from mmdetlike.engine.validation_report import FOLDER, write_data_statistics, write_validation
from mmdetlike.registry import HOOKS
from mmdetlike.structures.bbox import scale_boxes
from mmdetlike.visualization import Instances, contact_sheet, panoptic_instances, plot_training_curves, save_image

from .visualization_hook import original_image, sample_name


@HOOKS.register_module()
class ReportHook(Hook):
    """Write ``curves.png`` and ``predictions.png`` into the work folder and end with a table of all files.

    Args:
        num_images: Pictures on the contact sheet, the first ones of the validation or test set.
        score_thr: Predictions above this score are drawn.
        html: Write ``report.html``, all of it in one page, at the end of a training; see ``write_report``. What it
            tells of the last validation and of the data is in the folder ``report`` of the run.
    """

    priority = 'LOWEST'

    def __init__(self, num_images: int = 12, score_thr: float = 0.3, html: bool = True) -> None:
        self.num_images = num_images
        self.score_thr = score_thr
        self.html = html
        self.seen: list[tuple] = []
        self.record: ValidationRecord | None = None
        self.metrics: dict[str, float] = {}
        self._told: set[str] = set()

    def before_val_epoch(self, runner) -> None:
        """Start a new sheet, and a new record of what is found."""
        self.seen = []
        self.record = ValidationRecord(self.score_thr) if self.html else None

    def before_test_epoch(self, runner) -> None:
        """Start a new sheet."""
        self.seen = []

    def after_val_iter(self, runner, batch_idx: int, data_batch: dict | None = None, outputs: list | None = None):
        """Keep the first images with what was predicted of them."""
        dataset = runner.val_dataloader.dataset
        self._try(runner, 'the contact sheet', self._keep, dataset, data_batch, outputs)
        if self.record is not None:
            self._try(runner, 'what was found', self._keep_boxes, dataset, data_batch, outputs)

    def after_test_iter(self, runner, batch_idx: int, data_batch: dict | None = None, outputs: list | None = None):
        """Keep the first images with what was predicted of them."""
        self._try(runner, 'the contact sheet', self._keep, runner.test_dataloader.dataset, data_batch, outputs)

    def _keep(self, dataset, data_batch: dict, outputs: list) -> None:
        if len(self.seen) < self.num_images:
            scaled = annotations_are_resized(dataset)
            num_classes = len(dataset.metainfo.get('classes') or ())
            entries = [sheet_entry(*pair, scaled, num_classes) for pair in zip(outputs, images_of_batch(data_batch))]
            self.seen += entries[: self.num_images - len(self.seen)]

    def _keep_boxes(self, dataset, data_batch: dict, outputs: list) -> None:
        scaled = annotations_are_resized(dataset)
        for sample, image in zip(outputs, images_of_batch(data_batch)):
            boxes = boxes_of_sample(sample, scaled)
            if boxes is not None:
                self.record.add(sample_name(sample), *boxes, partial(original_image, sample, image))

    def after_val_epoch(self, runner, metrics: dict | None = None) -> None:
        """Remember the last metrics."""
        self.metrics = dict(metrics or {})

    @master_only
    def after_test_epoch(self, runner, metrics: dict | None = None) -> None:
        """Report a test."""
        self.metrics = dict(metrics or {})
        folder = Path(runner.log_dir)
        self._write_sheet(runner, folder / 'predictions.png')
        self._print_table(runner, [('predictions', folder / 'predictions.png'), ('log', folder)])

    def after_train(self, runner) -> None:
        """Report a training."""
        images = None
        if self.record is not None:  # which all processes have or none, so that all take part
            images = self.record.gathered(len(runner.val_dataloader.dataset))
            self.record = None
        self._report_training(runner, images)

    @master_only
    def _report_training(self, runner, images: list[ImageRecord] | None) -> None:
        work_dir = Path(runner.work_dir)
        scalars = sorted(Path(runner.log_dir).glob('vis_data/scalars.json'))
        if scalars:
            self._try(runner, 'curves', plot_training_curves, scalars[-1], work_dir / 'curves.png')
        self._write_sheet(runner, work_dir / 'predictions.png')
        if self.html and scalars:
            self._try(runner, 'what was found', self._write_validation, runner, images or [])
            self._try(runner, 'the data', self._write_data, runner)
            self._try(runner, 'the report', write_report, work_dir)
        checkpoints = [('best checkpoint', p) for p in sorted(work_dir.glob('best_*.pth'))]
        last = work_dir / 'last_checkpoint'
        if last.is_file():
            checkpoints.append(('last checkpoint', Path(last.read_text().strip())))
        config = Path(runner.cfg.filename or f'{runner.timestamp}.py').name
        rows = [
            *checkpoints,
            ('config', work_dir / config),
            ('log', Path(runner.log_dir) / f'{runner.timestamp}.log'),
            ('curves', work_dir / 'curves.png'),
            ('predictions', work_dir / 'predictions.png'),
            ('report', work_dir / 'report.html'),
        ]
        self._print_table(runner, rows)

    def _write_sheet(self, runner, path: Path) -> None:
        if not self.seen:
            return
        meta = getattr(runner.visualizer, 'dataset_meta', None) or {}
        captions = [name for _, _, _, name in self.seen]
        items = [entry[:3] for entry in self.seen]

        def draw() -> None:
            sheet = contact_sheet(
                items,
                captions=captions,
                classes=meta.get('classes'),
                palette=meta.get('palette'),
                score_thr=self.score_thr,
            )
            save_image(sheet, path)

        self._try(runner, 'the contact sheet', draw)

    def _write_validation(self, runner, images: list[ImageRecord]) -> None:
        meta = getattr(runner.visualizer, 'dataset_meta', None) or {}
        if images and meta.get('classes'):
            folder = Path(runner.log_dir) / FOLDER
            write_validation(images, meta['classes'], meta.get('palette'), folder, self.score_thr)

    def _write_data(self, runner) -> None:
        datasets = {'train': runner.train_dataloader.dataset}
        if runner.val_loop is not None:
            datasets['val'] = runner.val_dataloader.dataset
        write_data_statistics(datasets, Path(runner.log_dir) / FOLDER)

    def _try(self, runner, what: str, function, *args) -> None:
        """Call a function that draws; a failure must not end the run, and is logged once."""
        try:
            function(*args)
        except Exception as error:
            message = f'could not draw {what}: {type(error).__name__}: {error}'
            if message not in self._told:
                self._told.add(message)
                runner.logger.warning(message)

    def _print_table(self, runner, rows: list[tuple[str, Path]]) -> None:
        table = [['what', 'where']] + [[what, str(path)] for what, path in rows if Path(path).exists()]
        numbers = {name: value for name, value in self.metrics.items() if isinstance(value, float)}
        # COCO's score of a size that no object has is -1
        table += [[name, '-' if value == -1 else f'{value:.4f}'] for name, value in numbers.items()]
        runner.logger.info('\n' + AsciiTable(table, title='summary').table)


def annotations_are_resized(dataset) -> bool:
    """Whether a pipeline resizes boxes with the picture; test pipelines often load them after it was resized."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', [])
    loaders = [i for i, step in enumerate(steps) if isinstance(step, LoadAnnotations)]
    return bool(loaders) and any(isinstance(step, GeometricTransform) for step in steps[loaders[0] :])


def sheet_entry(sample, image, scaled: bool, num_classes: int) -> tuple:
    """An entry of the contact sheet: picture (h, w, 3) RGB, prediction and ground truth in its pixels, caption.

    Args:
        sample: What the model returned, predictions in pixels of the original picture.
        image: Its input (3, h, w).
        scaled: Whether its ground truth is in pixels of the input, not of the original picture.
        num_classes: Classes of the dataset, things and stuff.
    """
    truth = sample.get('gt_instances')
    if truth is not None and 'bboxes' in truth:
        boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
        if scaled:
            boxes = scale_boxes(boxes, [1 / factor for factor in sample.metainfo.get('scale_factor', (1, 1))])
        truth = InstanceData(bboxes=boxes.cpu(), labels=truth.labels.cpu())
    return original_image(sample, image), drawn_prediction(sample, num_classes), truth, sample_name(sample)


def drawn_prediction(sample, num_classes: int) -> InstanceData | Instances | None:
    """The objects that were predicted, else the segments of ``num_classes`` classes, else None."""
    if 'pred_instances' in sample:
        return sample.pred_instances.cpu()
    if 'pred_panoptic_seg' in sample:
        return panoptic_instances(sample.pred_panoptic_seg.sem_seg, num_classes)
    return None
