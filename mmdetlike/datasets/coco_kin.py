"""Public data sets in the format of COCO: their classes, file names, and which of their images count as empty."""

from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .classes_from_file import ClassesFromFile, PanopticClassesFromFile
from .coco import CocoDataset
from .coco_panoptic import CocoPanopticDataset


@DATASETS.register_module()
class Objects365V1Dataset(ClassesFromFile, CocoDataset):
    """Objects365 1 (Objects365: A Large-scale, High-quality Dataset for Object Detection, ICCV 2019): 365 classes.

    Names are read from the file, in the order of their ids, which differs from the order in which its categories are
    listed. Arguments are those of ``CocoDataset``.
    """


@DATASETS.register_module()
class Objects365V2Dataset(ClassesFromFile, CocoDataset):
    """Objects365 2: 365 classes, whose names are read from the file in the order of their ids.

    The file names pictures as ``images/v1/patch8/x.jpg``; they are looked for where the archives unpack them, as
    ``patch8/x.jpg`` in ``data_prefix['img']``. Arguments are those of ``CocoDataset``.
    """

    def image_info(self, image: dict) -> dict:
        name = image['file_name'] or ''
        if name.startswith('images/'):
            image = {**image, 'file_name': '/'.join(name.split('/')[-2:])}
        return super().image_info(image)


@DATASETS.register_module()
class V3DetDataset(ClassesFromFile, CocoDataset):
    """V3Det: Vast Vocabulary Visual Detection Dataset (arXiv:2304.03752): 13204 classes, whose names are read from the
    file in the order of their ids. Arguments are those of ``CocoDataset``."""


@DATASETS.register_module()
class iSAIDDataset(ClassesFromFile, CocoDataset):
    """iSAID: A Large-scale Dataset for Instance Segmentation in Aerial Images (arXiv:1905.12886), cut into patches.

    The 15 names are read from the file, in the order of their ids, as releases spell them in several ways
    (``storage_tank``, ``store_tank``). Arguments are those of ``CocoDataset``.
    """


@DATASETS.register_module()
class ADE20KInstanceDataset(ClassesFromFile, CocoDataset):
    """Objects of ADE20K (Scene Parsing through ADE20K Dataset, CVPR 2017) in the format of COCO: 100 classes, whose
    names are read from the file in the order of their ids. Arguments are those of ``CocoDataset``."""


@DATASETS.register_module()
class ADE20KPanopticDataset(PanopticClassesFromFile, CocoPanopticDataset):
    """Things and stuff of ADE20K in the panoptic format of COCO: 100 and 50 classes.

    Names are read from the file: those of things, then those of stuff, each in the order of their ids. Arguments are
    those of ``CocoPanopticDataset``.
    """


@DATASETS.register_module()
class DeepFashionDataset(CocoDataset):
    """Clothes and bodies of DeepFashion (DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich
    Annotations, CVPR 2016), the in-shop part with masks. Arguments are those of ``CocoDataset``."""

    METAINFO = {
        'classes': (
            'top', 'skirt', 'leggings', 'dress', 'outer', 'pants', 'bag', 'neckwear', 'headwear', 'eyeglass', 'belt',
            'footwear', 'hair', 'skin', 'face',
        ),
        'palette': distinct_colors(15),
    }  # fmt: skip


@DATASETS.register_module()
class CityscapesDataset(CocoDataset):
    """Objects of Cityscapes (The Cityscapes Dataset for Semantic Urban Scene Understanding, arXiv:1604.01685).

    The colors are those of the benchmark. ``filter_empty_gt`` leaves out images with nothing but groups, too: they
    would teach only what is to be ignored. Arguments are those of ``CocoDataset``.
    """

    METAINFO = {
        'classes': ('person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle'),
        'palette': [
            (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
        ],
    }  # fmt: skip

    def is_empty(self, info: dict) -> bool:
        """Whether an image has no objects but groups of them, which are to be ignored."""
        return all(instance['ignore_flag'] for instance in info['instances'])
