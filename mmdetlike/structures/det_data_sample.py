"""The sample of one image: its annotations and the predictions of a detector."""

from collections.abc import Sequence

from mmengine.structures import BaseDataElement, InstanceData, PixelData


def _field(name: str, kind: type, doc: str) -> property:
    """A data field that accepts nothing but ``kind``; mmengine expects its value under ``_name``."""
    private = f'_{name}'

    def read(self: BaseDataElement):
        return getattr(self, private)

    def write(self: BaseDataElement, value) -> None:
        if not isinstance(value, kind):
            raise TypeError(f'{name} must be of type {kind.__name__}, but is of type {type(value).__name__}.')
        self.set_field(value, private)

    def delete(self: BaseDataElement) -> None:
        delattr(self, private)

    return property(read, write, delete, doc)


class DetDataSample(BaseDataElement):
    """Annotations and predictions of one image, with its metainfo (``img_shape``, ``scale_factor``, ...).

    Instances hold, as far as known, ``bboxes`` (n, 4) xyxy in pixels, ``labels`` (n,), ``scores`` (n,), ``masks``
    and ``keypoints`` (n, k, 3).

    Raises:
        TypeError: A field is set to something of another type than its own.
    """

    proposals: InstanceData = _field('proposals', InstanceData, 'Candidate boxes.')
    gt_instances: InstanceData = _field('gt_instances', InstanceData, 'Annotated objects.')
    pred_instances: InstanceData = _field('pred_instances', InstanceData, 'Detected objects.')
    ignored_instances: InstanceData = _field(
        'ignored_instances', InstanceData, 'Annotated objects that count neither for nor against a detector.'
    )
    pred_track_instances: InstanceData = _field('pred_track_instances', InstanceData, 'Tracked objects.')
    gt_sem_seg: PixelData = _field('gt_sem_seg', PixelData, 'Annotated class of each pixel.')
    pred_sem_seg: PixelData = _field('pred_sem_seg', PixelData, 'Predicted class of each pixel.')
    gt_panoptic_seg: PixelData = _field('gt_panoptic_seg', PixelData, 'Annotated segment of each pixel.')
    pred_panoptic_seg: PixelData = _field('pred_panoptic_seg', PixelData, 'Predicted segment of each pixel.')


SampleList = Sequence[DetDataSample]
OptSampleList = SampleList | None
