"""LVIS: A Dataset for Large Vocabulary Instance Segmentation (arXiv:1908.03195), on the pictures of COCO."""

from ..registry import DATASETS
from .classes_from_file import ClassesFromFile
from .coco import CocoDataset
from .coco_file import IMAGES, CocoFile
from .records import Field, Table, optional_text

_COCO_2014 = 'COCO_'  # LVIS 0.5 names pictures as COCO of 2014 did: COCO_train2014_000000391895.jpg
_COCO_2017_NAME = len('000000391895.jpg')


class LVISFile(CocoFile):
    """A file of LVIS: one in the format of COCO whose pictures may be given by their addresses at COCO.

    ``file_name`` of an image becomes the path that the picture has in COCO's folders of 2017.
    """

    image_table = Table(
        'an image',
        (*IMAGES.fields, Field('coco_url', optional_text, 'the address of a picture of COCO')),
        IMAGES.name,
    )

    def read_lists(self, content: dict) -> None:
        super().read_lists(content)
        for image in self.images:
            image['file_name'] = picture_of(image)


def picture_of(image: dict) -> str | None:
    """The path of the picture of an image in COCO's folders of 2017; None if the file doesn't say.

    LVIS 0.5 gives a name, of which its folder isn't part: '000000391895.jpg'. LVIS 1.0 gives an address, which ends
    with folder and name, 'train2017/000000391895.jpg': its validation pictures are from COCO's training pictures, too.
    """
    name = image['file_name']
    if name is not None:
        return name[-_COCO_2017_NAME:] if name.startswith(_COCO_2014) else name
    if image['coco_url'] is not None:
        return '/'.join(image['coco_url'].split('/')[-2:])
    return None


@DATASETS.register_module()
class LVISV05Dataset(ClassesFromFile, CocoDataset):
    """LVIS 0.5: boxes and masks of 1230 classes, whose names are read from the file in the order of their ids.

    Args:
        ann_file: ``annotations/lvis_v0.5_train.json``, relative to ``data_root``.
        data_prefix: ``dict(img='train2017/')``, a folder of COCO 2017.

    The other arguments are those of ``CocoDataset``.
    """

    file_type = LVISFile


@DATASETS.register_module(name=['LVISV1Dataset', 'LVISDataset'])
class LVISV1Dataset(LVISV05Dataset):
    """LVIS 1.0: boxes and masks of 1203 classes, whose names are read from the file in the order of their ids.

    Args:
        ann_file: ``annotations/lvis_v1_train.json``, relative to ``data_root``.
        data_prefix: ``dict(img='')``: the folder that holds COCO's ``train2017`` and ``val2017``.

    The other arguments are those of ``CocoDataset``.
    """
