"""Datasets and dataloaders of 2.x: ``data`` becomes ``train_dataloader``, ``val_dataloader``, ``test_dataloader``."""

from collections.abc import Iterator

from .pipeline import Pipeline, translate_pipeline
from .report import Report, is_sequence

VOC = ('XMLDataset', 'VOCDataset', 'WIDERFaceDataset')
WRAPPERS = ('RepeatDataset', 'ClassBalancedDataset', 'MultiImageMixDataset', 'ConcatDataset')
# of ``data``, for all three loaders, and of ``data.train_dataloader`` and so on
LOADER_KEYS = {
    'samples_per_gpu': 'batch_size',
    'imgs_per_gpu': 'batch_size',
    'workers_per_gpu': 'num_workers',
    'persistent_workers': 'persistent_workers',
    'pin_memory': 'pin_memory',
    'drop_last': 'drop_last',
    'prefetch_factor': 'prefetch_factor',
}
PREFIXES = {'img_prefix': 'img', 'seg_prefix': 'seg'}
FILES = ('ann_file', 'proposal_file', 'img_prefix', 'seg_prefix')
MIN_SIZE = 32  # smaller images are left out of a training


class Data:
    """What ``data`` says, with what its pipelines ask of the model's preprocessor.

    Attributes:
        loaders: The dataloaders of 3.x by ``train``, ``val`` and ``test``.
        pipelines: What each pipeline asks for beside its steps, by the same names.
        tta_pipeline: The pipeline of a test with several versions of an image, or None.
    """

    def __init__(self, data: dict, root: str | None, by_iterations: bool, report: Report) -> None:
        self.root = root
        self.by_iterations = by_iterations
        self.report = report
        self.pipelines: dict[str, list[Pipeline]] = {'train': [], 'val': [], 'test': []}
        self.tta_pipeline: list | None = None
        self.loaders: dict[str, dict] = {}
        rest = dict(data)
        common = {key: rest.pop(key) for key in LOADER_KEYS if key in rest}
        for kind in ('train', 'val', 'test'):
            dataset = rest.pop(kind, None)
            own = rest.pop(f'{kind}_dataloader', {})
            if dataset is not None:
                self.loaders[kind] = self._loader(kind, dataset, common, own)
        report.refuse_rest(rest, 'data', 'data')

    def _loader(self, kind: str, dataset, common: dict, own: dict) -> dict:
        training = kind == 'train'
        if not training:
            # a test takes one image at a time unless its own settings say otherwise
            common = {key: value for key, value in common.items() if key not in ('samples_per_gpu', 'imgs_per_gpu')}
            own = {**_sizes_within(dataset), **own}
        given = {LOADER_KEYS[key]: value for key, value in {**common, **own}.items() if key in LOADER_KEYS}
        workers = given.get('num_workers', 0)
        loader = dict(batch_size=1, num_workers=0, persistent_workers=workers > 0, **({} if training else _LAST))
        loader.update(given)
        loader['sampler'] = self._sampler(kind, own)
        if training:
            loader['batch_sampler'] = dict(type='AspectRatioBatchSampler')
        loader['dataset'] = self.dataset(dataset, kind, f'data.{kind}')
        rest = {key: value for key, value in own.items() if key not in (*LOADER_KEYS, 'shuffle', 'class_aware_sampler')}
        self.report.refuse_rest(rest, f'data.{kind}_dataloader', 'a dataloader')
        return loader

    def _sampler(self, kind: str, own: dict) -> dict:
        if own.get('class_aware_sampler') is not None:
            return dict(type='ClassAwareSampler', **own['class_aware_sampler'])
        training = kind == 'train'
        endless = training and self.by_iterations
        return dict(type='InfiniteSampler' if endless else 'DefaultSampler', shuffle=own.get('shuffle', training))

    def dataset(self, dataset, kind: str, path: str) -> dict:
        """Translate the config of a dataset, of several in a list, or of a wrapper with those in it."""
        if is_sequence(dataset):
            datasets = [self.dataset(each, kind, f'{path}[{i}]') for i, each in enumerate(dataset)]
            return dict(type='ConcatDataset', datasets=datasets)
        dataset = {key: value for key, value in dataset.items() if key not in ('samples_per_gpu', 'imgs_per_gpu')}
        if str(dataset.get('type')).rpartition('.')[2] in WRAPPERS:
            return self._wrapper(dataset, kind, path)
        if is_sequence(dataset.get('ann_file')):
            return self._one_a_file(dataset, kind, path)
        return self._single(dataset, kind, path)

    def _wrapper(self, dataset: dict, kind: str, path: str) -> dict:
        if dataset.pop('separate_eval', True) is False:
            self.report.note(f'{path}.separate_eval', 'all parts are scored together, as this asks')
        for key in ('dataset', 'datasets'):
            if key in dataset:
                dataset[key] = self.dataset(dataset[key], kind, f'{path}.{key}')
        if dataset['type'] == 'ConcatDataset' and isinstance(dataset.get('datasets'), dict):
            dataset['datasets'] = dataset['datasets']['datasets']
        if 'pipeline' in dataset:
            dataset['pipeline'] = self._pipeline(dataset['pipeline'], kind, path)
        if dataset.pop('dynamic_scale', None) is not None:
            self.report.note(f'{path}.dynamic_scale', 'model.data_preprocessor.batch_augments changes sizes now')
        return dataset

    def _one_a_file(self, dataset: dict, kind: str, path: str) -> dict:
        """A dataset of several annotation files: one a file, put together."""
        count = len(dataset['ann_file'])
        dataset.pop('separate_eval', None)
        spread = {key: dataset[key] for key in FILES if is_sequence(dataset.get(key))}
        parts = []
        for i in range(count):
            parts.append(self._single({**dataset, **{key: files[i] for key, files in spread.items()}}, kind, path))
        kept = dict(ignore_keys=['dataset_type']) if _is_voc(dataset) else {}  # VOC2007 and VOC2012 call themselves so
        return dict(type='ConcatDataset', **kept, datasets=parts)

    def _single(self, dataset: dict, kind: str, path: str) -> dict:
        root = dataset.pop('data_root', None)
        self.root, outer = root if root is not None else self.root, self.root
        translated = dict(type=dataset.pop('type'))
        prefix = {name: dataset.pop(key) for key, name in PREFIXES.items() if dataset.get(key) is not None}
        if _is_voc(translated) and 'img' in prefix:
            prefix = dict(sub_data_root=prefix['img'])
        files = {key: dataset.pop(key) for key in ('ann_file', 'proposal_file') if key in dataset}
        translated.update(self._below_root(files, prefix, joined=root is not None))
        self.root = outer
        translated.update(_metainfo(dataset))
        # only the metric of panoptic segmentation reads it, and it is told
        dataset.pop('ins_ann_file', None)
        client = dataset.pop('file_client_args', None)
        if client is not None and client.get('backend') != 'disk':
            translated['backend_args'] = client
        translated.update(_filter(dataset, kind, translated))
        if 'pipeline' in dataset:
            translated['pipeline'] = self._pipeline(dataset.pop('pipeline'), kind, path)
        dataset.pop('test_mode', None)
        return {**translated, **dataset}

    def _below_root(self, files: dict, prefix: dict, joined: bool) -> dict:
        """Files and folders relative to the root, which they repeat in most configs."""
        if joined:
            return dict(data_root=self.root, **files, data_prefix=prefix)
        named = [value for value in (*files.values(), *prefix.values()) if value]
        root = self.root or ''
        if not root or not all(str(value).startswith(root) for value in named):
            return dict(**files, data_prefix=prefix)
        cut = {key: value[len(root) :] if value else value for key, value in files.items()}
        return dict(
            data_root=root,
            **cut,
            data_prefix={key: value[len(root) :] if value else value for key, value in prefix.items()},
        )

    def _pipeline(self, steps: list, kind: str, path: str) -> list[dict]:
        translated, pipeline = translate_pipeline(steps, f'{path}.pipeline', self.report, kind == 'train')
        self.pipelines[kind].append(pipeline)
        if kind == 'train':
            return translated
        loading = self._loading()
        if kind == 'test' and pipeline.tta is not None:
            self.tta_pipeline = [
                *translated[: _first_of_tta(translated)],
                *_with_annotations_in_tta(pipeline.tta, loading),
            ]
        return _with_annotations(translated, loading)

    def _loading(self) -> dict:
        """The step that loads annotations in a test, like that of the training."""
        keys = [key for pipeline in self.pipelines['train'] for key in pipeline.keys]
        if 'gt_masks' in keys and 'gt_semantic_seg' in keys and self.is_panoptic:
            return dict(type='LoadPanopticAnnotations')
        return dict(type='LoadAnnotations', with_bbox=True, **({'with_mask': True} if 'gt_masks' in keys else {}))

    @property
    def is_panoptic(self) -> bool:
        """Whether the datasets of the training are of panoptic segmentation."""
        return any('Panoptic' in str(leaf['type']) for leaf in leaves(self.loaders.get('train', {}).get('dataset', {})))


_LAST = dict(drop_last=False)


def _sizes_within(dataset) -> dict:
    """The batch size that the dataset of a test may state itself."""
    return {
        key: dataset[key] for key in ('samples_per_gpu', 'imgs_per_gpu') if isinstance(dataset, dict) and key in dataset
    }


def leaves(dataset: dict) -> Iterator[dict]:
    """The translated configs of the datasets in a wrapper, or of the one that is none."""
    if 'dataset' in dataset:
        yield from leaves(dataset['dataset'])
    elif 'datasets' in dataset:
        for each in dataset['datasets']:
            yield from leaves(each)
    elif dataset:
        yield dataset


def _is_voc(dataset: dict) -> bool:
    return str(dataset['type']).rpartition('.')[2] in VOC


def _metainfo(dataset: dict) -> dict:
    names = {key: dataset.pop(key) for key in ('classes', 'palette') if key in dataset}
    classes = names.get('classes')
    if classes is None:
        names.pop('classes', None)
    return dict(metainfo=names) if names else {}


def _filter(dataset: dict, kind: str, translated: dict) -> dict:
    """What is left out: of a training images without objects and tiny ones, of a test nothing."""
    empty = dataset.pop('filter_empty_gt', True)
    smallest_box = dataset.pop('min_size', None) if _is_voc(translated) else None
    if kind != 'train':
        return dict(test_mode=True)
    boxes = {} if smallest_box is None else dict(bbox_min_size=smallest_box)
    return dict(filter_cfg=dict(filter_empty_gt=empty, min_size=MIN_SIZE, **boxes))


def _with_annotations(steps: list[dict], loading: dict) -> list[dict]:
    """The steps of a test that also load what the predictions are compared with, as the last thing before packing."""
    names = [step['type'] for step in steps]
    if 'PackDetInputs' not in names or 'LoadProposals' in names or any('Annotations' in name for name in names):
        return steps
    end = names.index('PackDetInputs')
    return [*steps[:end], loading, *steps[end:]]


def _with_annotations_in_tta(steps: list[dict], loading: dict) -> list[dict]:
    groups = steps[0]['transforms']
    return [dict(type='TestTimeAug', transforms=[*groups[:-1], [loading], groups[-1]])]


def _first_of_tta(steps: list[dict]) -> int:
    """How many steps of a test come before those of its versions: those that load."""
    return sum(step['type'].startswith('Load') for step in steps)
