"""Pipelines of 2.x, step by step.

2.x normalizes and pads each image in its pipeline; since 3.x the model's ``data_preprocessor`` does that to the batch.
A pipeline is therefore translated to two things: its other steps, and what the preprocessor has to know.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .report import Report, is_pair, is_sequence, swapped, without_none

TEST_META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
FLIP_META_KEYS = ('flip', 'flip_direction')
RESIZE_MODES = ('range', 'value')
# what the detectors of 2.x collect
COLLECTED = (
    *('img', 'gt_bboxes', 'gt_bboxes_ignore', 'gt_labels', 'gt_masks', 'gt_semantic_seg', 'proposals'),
    *('filename', 'ori_filename', 'ori_shape', 'img_shape', 'pad_shape', 'scale_factor', 'flip', 'flip_direction'),
    *('img_norm_cfg', 'border', 'batch_input_shape', 'tag', 'img_fields'),
)
# formats that a batch needs, now all in ``PackDetInputs``
FORMATTING = ('DefaultFormatBundle', 'ImageToTensor', 'ToTensor', 'ToDataContainer', 'Transpose')
# steps that move or resize the image, and proposals with it
GEOMETRY = ('Resize', 'RandomResize', 'RandomChoiceResize', 'RandomFlip', 'RandomCrop', 'Pad', 'RandomChoice')
# 2.x drops objects that these leave too small; since 3.x ``FilterAnnotations`` does, where it is asked to
FILTERS = ('skip_filter', 'min_bbox_size', 'min_area_ratio', 'max_aspect_ratio')


@dataclass
class Pipeline:
    """A pipeline as it is being translated.

    Attributes:
        report: Where to tell what can't be translated.
        training: Whether it is one for training.
        scale: Of a test: what its resizes are to use, as ``scale`` or ``scale_factor``.
        normalize: Arguments of its ``Normalize``.
        size_divisor: What the sides of the padded image are divisible by.
        pad_value: What pads the image, after normalization.
        batch_pad: What pads whole batches to one size.
        keys: What it collects.
        tta: The pipeline of a test with several versions of each image.
        following: Types of the steps after the one that is being translated.
    """

    report: Report
    training: bool
    scale: dict | None = None
    normalize: dict | None = None
    size_divisor: int | None = None
    pad_value: float | None = None
    batch_pad: dict | None = None
    keys: tuple = ()
    tta: list | None = None
    following: tuple = ()

    def translate(self, steps: list, path: str) -> list[dict]:
        """The steps that stay steps, in 3.x's words."""
        translated = []
        for i, step in enumerate(steps):
            self.following = tuple(str(later.get('type')) for later in steps[i + 1 :])
            translated += self._step(dict(step), f'{path}[{i}]')
        return translated

    def _step(self, step: dict, path: str) -> list[dict]:
        name = str(step.get('type', '')).rpartition('.')[2]
        if name in FORMATTING:
            return []
        translate = STEPS.get(name)
        if translate is None:
            return [step]  # the same in 3.x, or a transform of the user's
        arguments = {key: value for key, value in step.items() if key != 'type'}
        return translate(self, arguments, path)


def _load_image(pipeline: Pipeline, step: dict, path: str, name: str = 'LoadImageFromFile') -> list[dict]:
    return [dict(type=name, **_with_backend(step))]


def _with_backend(step: dict) -> dict:
    """Arguments with ``backend_args`` for ``file_client_args``; local files need none."""
    client = step.pop('file_client_args', None)
    if client is not None and client.get('backend') != 'disk':
        step['backend_args'] = client
    return step


def _load_annotations(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    if step.pop('denorm_bbox', False):
        pipeline.report.note(f'{path}.denorm_bbox', 'the dataset gives boxes in pixels now')
    return [dict(type='LoadAnnotations', **_with_backend(step))]


def _load_panoptic(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    return [dict(type='LoadPanopticAnnotations', **_with_backend(step))]


def _resize(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    scale = step.pop('img_scale', None)
    mode = step.pop('multiscale_mode', 'range')
    ratio_range = step.pop('ratio_range', None)
    if mode not in RESIZE_MODES:
        pipeline.report.refuse(f'{path}.multiscale_mode', mode, f'expected {" or ".join(RESIZE_MODES)}')
    step.pop('override', None)  # each resize replaces the former one now
    rest = _resize_rest(step)
    if scale is None and ratio_range is None:
        return [dict(type='Resize', **(pipeline.scale or {}), **rest)] if pipeline.scale != {} else []
    if ratio_range is not None:
        return [dict(type='RandomResize', scale=_single(scale), ratio_range=ratio_range, **rest)]
    if is_pair(scale) or len(scale) == 1:
        return [dict(type='Resize', scale=_single(scale), **rest)]
    if mode == 'value':
        return [dict(type='RandomChoiceResize', scales=scale, **rest)]
    return [dict(type='RandomResize', scale=scale, **rest)]


def _resize_rest(step: dict) -> dict:
    rest = {'keep_ratio': True, **step}  # 3.x's default is the other one
    if 'bbox_clip_border' in rest:
        rest['clip_object_border'] = rest.pop('bbox_clip_border')
    return rest


def _single(scale):
    return scale if is_pair(scale) else scale[0]


def _random_flip(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    ratio = step.pop('flip_ratio', step.pop('prob', None))
    if ratio is None:
        return []  # the test says whether to flip
    return [dict(type='RandomFlip', prob=ratio, **step)]


def _normalize(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    pipeline.normalize = {key: step.pop(key) for key in ('mean', 'std', 'to_rgb') if key in step}
    pipeline.report.refuse_rest(step, path, 'Normalize')
    return []


def _pad(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    size = step.pop('size', None)
    divisor = step.pop('size_divisor', None)
    square = step.pop('pad_to_square', False)
    value = step.pop('pad_val', 0)
    pipeline.report.refuse_rest(step, path, 'Pad')
    if size is None and not square:
        pipeline.size_divisor = divisor
        _tell_pad_value(pipeline, value, path)
        return []
    if size is not None and _pads_batches(pipeline):
        pipeline.batch_pad = _batch_pad(pipeline, size, value, path)
        return []
    kept = dict(size=swapped(size)) if size is not None else dict(pad_to_square=True, size_divisor=divisor)
    return [dict(type='Pad', **without_none(kept), pad_val=_raw_pad_value(pipeline, value))]


def _pads_batches(pipeline: Pipeline) -> bool:
    """Whether the images of a training get their last size here, so that whole batches can be padded instead."""
    if not pipeline.training or any(name in GEOMETRY for name in pipeline.following):
        return False
    return pipeline.normalize is not None or 'Normalize' in pipeline.following


def _batch_pad(pipeline: Pipeline, size, value, path: str) -> dict:
    values = value if isinstance(value, dict) else dict(img=value)
    image = values.get('img', 0)
    image = image[0] if is_sequence(image) else image
    if pipeline.normalize is None:
        _tell_pad_value(pipeline, values, path)
        image = 0
    return dict(
        type='BatchFixedSizePad',
        size=size,
        img_pad_value=image,
        **(dict(pad_mask=True, mask_pad_value=values.get('masks', 0)) if 'gt_masks' in pipeline.keys else {}),
        **(dict(pad_seg=True, seg_pad_value=values.get('seg', 255)) if 'gt_semantic_seg' in pipeline.keys else {}),
    )


def _tell_pad_value(pipeline: Pipeline, value, path: str) -> None:
    """Keep the number that pads a normalized image; one that pads it before that has no counterpart."""
    image = value.get('img', 0) if isinstance(value, dict) else value
    if pipeline.normalize is not None and isinstance(image, (int, float)):
        pipeline.pad_value = image or None
    elif image != 0:
        pipeline.report.note(f'{path}.pad_val', f'{image} padded the image; the mean of the images does, as in 3.x')


def _raw_pad_value(pipeline: Pipeline, value):
    """What pads an image that isn't normalized yet, so that it equals ``value`` once it is."""
    if pipeline.normalize is None or isinstance(value, dict):
        return value
    mean = pipeline.normalize['mean']
    std = pipeline.normalize['std']
    raw = [value * s + m for m, s in zip(mean, std)]
    # files are read as BGR
    return dict(img=raw[::-1] if pipeline.normalize.get('to_rgb', True) else raw)


def _collect(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    keys = step.pop('keys', None)
    meta_keys = step.pop('meta_keys', None)
    pipeline.report.refuse_rest(step, path, 'Collect')
    own = [key for key in (*(keys or ()), *(meta_keys or ())) if key not in COLLECTED]
    if own:
        pipeline.report.note(path, f'{", ".join(map(str, own))} of its own: PackDetInputs packs more by its meta_keys')
    if pipeline.training:
        return [dict(type='PackDetInputs')]
    border = ('border',) if 'border' in (meta_keys or ()) else ()
    return [dict(type='PackDetInputs', meta_keys=(*TEST_META_KEYS, *border))]


def _auto_augment(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    policies = step.pop('policies')
    pipeline.report.refuse_rest(step, path, 'AutoAugment')
    choices = [pipeline.translate(policy, f'{path}.policies[{i}]') for i, policy in enumerate(policies)]
    return [dict(type='RandomChoice', transforms=choices)]


def _random_crop(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    if step.get('crop_type', 'absolute') != 'absolute_range':
        # (height, width) became (width, height); a range is of the smallest and the largest side
        step['crop_size'] = swapped(step['crop_size'])
    return [dict(type='RandomCrop', **step)]


def _random_shift(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    if 'shift_ratio' in step:
        step['prob'] = step.pop('shift_ratio')
    return [dict(type='RandomShift', **step)]


def _albu(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    if step.pop('update_pad_shape', False):
        pipeline.report.note(f'{path}.update_pad_shape', 'there is no shape of the padded image in a pipeline now')
    labels = (step.get('bbox_params') or {}).get('label_fields')
    if labels is not None:
        fields = ['gt_bboxes_labels' if field == 'gt_labels' else field for field in labels]
        # pycocotools' marks of crowds go with the boxes
        fields += [] if 'gt_ignore_flags' in fields else ['gt_ignore_flags']
        step['bbox_params'] = {**step['bbox_params'], 'label_fields': fields}
    return [dict(type='Albu', **step)]


def _of_height_and_width(name: str, *keys: str) -> Callable:
    """The translation of a step whose sizes were (height, width) and are (width, height)."""

    def translate(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
        for key in FILTERS:
            if step.pop(key, None) is not None:
                pipeline.report.note(f'{path}.{key}', f'{name} filters no objects now: FilterAnnotations does')
        return [dict(type=name, **{key: swapped(value) if key in keys else value for key, value in step.items()})]

    return translate


def _test_versions(pipeline: Pipeline, step: dict, path: str) -> list[dict]:
    """``MultiScaleFlipAug``: the steps for the first scale unflipped, and all versions as ``TestTimeAug``."""
    scales = step.pop('img_scale', None)
    factors = step.pop('scale_factor', None)
    flip = step.pop('flip', False)
    directions = step.pop('flip_direction', 'horizontal')
    steps = step.pop('transforms')
    pipeline.report.refuse_rest(step, path, 'MultiScaleFlipAug')
    versions = _scales(scales, factors)
    single = Pipeline(pipeline.report, training=False, scale=versions[0])
    translated = single.translate(steps, f'{path}.transforms')
    pipeline.normalize = single.normalize
    pipeline.size_divisor = single.size_divisor
    pipeline.pad_value = single.pad_value
    if flip or len(versions) > 1:
        pipeline.report.note(path, f'{len(versions)} scales, flip={flip}: in tta_pipeline now, which --tta runs')
        pipeline.tta = _tta_steps(translated, versions, directions if flip else None)
    return translated


def _scales(scales, factors) -> list[dict]:
    if scales is not None:
        return [dict(scale=scale) for scale in ([scales] if is_pair(scales) else scales)]
    factors = factors if is_sequence(factors) else [factors]
    # a factor of one resizes nothing
    return [dict(scale_factor=factor) if factor not in (None, 1) else {} for factor in factors]


def _tta_steps(steps: list[dict], versions: list[dict], directions) -> list[dict]:
    resized = [i for i, step in enumerate(steps) if step['type'] == 'Resize']
    first = resized[0] if resized else 0
    keep = {key: value for key, value in steps[first].items() if key not in ('type', 'scale', 'scale_factor')}
    resizes = [dict(type='Resize', **version, **(keep if resized else {})) for version in versions if version]
    flips = [dict(type='RandomFlip', prob=0.0)]
    for direction in () if directions is None else [directions] if isinstance(directions, str) else directions:
        flips.append(dict(type='RandomFlip', prob=1.0, direction=direction))
    others = [[step] for i, step in enumerate(steps[:-1]) if i not in resized]
    pack = {**steps[-1], 'meta_keys': (*steps[-1].get('meta_keys', TEST_META_KEYS), *FLIP_META_KEYS)}
    groups = [resizes, flips, *others, [pack]]
    return [dict(type='TestTimeAug', transforms=[group for group in groups if group])]


STEPS: dict[str, Callable] = {
    'LoadImageFromFile': _load_image,
    'LoadAnnotations': _load_annotations,
    'LoadPanopticAnnotations': _load_panoptic,
    'Resize': _resize,
    'RandomFlip': _random_flip,
    'Normalize': _normalize,
    'Pad': _pad,
    'Collect': _collect,
    'AutoAugment': _auto_augment,
    'RandomCrop': _random_crop,
    'RandomShift': _random_shift,
    'Albu': _albu,
    'Mosaic': _of_height_and_width('Mosaic', 'img_scale'),
    'MixUp': _of_height_and_width('MixUp', 'img_scale'),
    'RandomAffine': _of_height_and_width('RandomAffine', 'border'),
    'MultiScaleFlipAug': _test_versions,
}


def collected_keys(steps: list) -> tuple:
    """What the ``Collect`` of a pipeline collects."""
    keys = ()
    for step in steps:
        if step.get('type') == 'Collect':
            keys = (*keys, *step.get('keys', ()))
        keys = (*keys, *collected_keys(step.get('transforms') or [] if step.get('type') == 'MultiScaleFlipAug' else []))
    return keys


def translate_pipeline(steps: list, path: str, report: Report, training: bool) -> tuple[list[dict], Pipeline]:
    """Translate a pipeline.

    Args:
        steps: Its steps in 2.x.
        path: Its key path in the config.
        report: Told what can't be translated.
        training: Whether it is one for training.

    Returns:
        The steps in 3.x, and what else it asks for.
    """
    pipeline = Pipeline(report, training, keys=collected_keys(steps))
    translated = pipeline.translate(steps, path)
    return _broadcast_to_proposals(translated), pipeline


def _broadcast_to_proposals(steps: list[dict]) -> list[dict]:
    """Steps whose geometry goes through ``ProposalBroadcaster`` where proposals are loaded."""
    if not any(step['type'] == 'LoadProposals' for step in steps):
        return steps
    moved = [step for step in steps if step['type'] in GEOMETRY]
    if not moved:
        return steps
    first = steps.index(moved[0])
    before = [step for step in steps[:first] if step not in moved]
    after = [step for step in steps[first:] if step not in moved]
    return [*before, dict(type='ProposalBroadcaster', transforms=moved), *after]
