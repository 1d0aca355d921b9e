"""Panoptic annotations in two parts: objects of an instance file, and label maps of stuff."""

from collections.abc import Sequence

from ..errors import ConfigError
from ..registry import DATASETS
from .coco import CocoDataset
from .coco_panoptic import CocoPanopticDataset


@DATASETS.register_module()
class CocoSeparatedPanopticDataset(CocoDataset):
    """Objects of a COCO instance file, which may overlap, with label maps of stuff (Panoptic FPN, arXiv 1901.02446).

    In a label map all things are 0, stuff counts from 1, and 255 is neither. Detectron2 calls such data
    ``coco_2017_train_panoptic_separated``. Load it by ``LoadAnnotations(with_mask=True)`` and ``LoadStuffMap``; for
    evaluation against panoptic files use ``CocoPanopticDataset``.

    Args:
        ann_file: The JSON file of instances, relative to ``data_root``.
        metainfo: As of ``CocoPanopticDataset``.
        data_prefix: ``dict(img='train2017/', seg='panoptic_stuff_train2017/')``.

    The other arguments are those of ``CocoDataset``.

    Raises:
        ConfigError: ``metainfo`` doesn't say which classes are things.
    """

    METAINFO = CocoPanopticDataset.METAINFO

    def classes_of_objects(self) -> Sequence[str]:
        """The classes of things."""
        things = self.metainfo.get('thing_classes')
        if things is None or tuple(self.metainfo['classes'][: len(things)]) != tuple(things):
            raise ConfigError(
                f'{type(self).__name__}: metainfo has no thing_classes that its classes begin with; expected '
                'dict(classes=things + stuff, thing_classes=things, stuff_classes=stuff)'
            )
        return things

    def load_data_list(self) -> list[dict]:
        """Data infos of all images of the file, with the number of classes of things."""
        infos = super().load_data_list()
        count = len(self.classes_of_objects())
        return [info | {'num_things': count} for info in infos]
