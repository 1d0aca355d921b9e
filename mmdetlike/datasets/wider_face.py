"""WIDER FACE: A Face Detection Benchmark (arXiv:1511.06523)."""

import os
import os.path as osp

from ..registry import DATASETS
from .annotations import read_lines, shortened
from .errors import DataError, SkipReport
from .records import truth
from .text_tables import count_line
from .voc import XMLDataset
from .voc_xml import VocImage, VocObject, image_file

_INVALID = 7  # column of a face: x, y, width, height, blur, expression, illumination, invalid, occlusion, pose
_LEAST_COLUMNS = 4


def read_face_list(path: str, backend_args: dict | None = None) -> dict[str, list[VocObject]]:
    """The faces of each picture by its file name, from the benchmark's own ``wider_face_train_bbx_gt.txt``.

    A picture is its file name, the number of its faces, and a line for each: x, y, width, height and six marks, of
    which ``invalid`` makes it one to be ignored. A picture without faces still has one such line, of zeros.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A line isn't what its place asks for, or the file ends too early.
    """
    lines = read_lines(path, backend_args)
    pictures: dict[str, list[VocObject]] = {}
    at = 0
    while at < len(lines):
        name = lines[at]
        if name in pictures:
            raise DataError(f'{path}: picture {name!r} is there twice.')
        expected = f'{path}: picture {shortened(name)}: expected the number of its faces in the line below its name'
        count = count_line(lines[at + 1 : at + 2], expected)
        rows = lines[at + 2 : at + 2 + count]
        if len(rows) < count:
            raise DataError(f'{path}: picture {name!r} should have {count} faces, but the file ends after {len(rows)}.')
        pictures[name] = [_face(row, f'{path}: picture {name!r}') for row in rows]
        at += 2 + count
        if not count and at < len(lines) and _is_zeros(lines[at]):
            at += 1
    return pictures


def _is_zeros(line: str) -> bool:
    return len(line.split()) >= _LEAST_COLUMNS and set(line.split()) == {'0'}


def _face(row: str, place: str) -> VocObject:
    try:
        x, y, width, height, *marks = map(float, row.split())
    except ValueError:
        raise DataError(f'{place} has the face {row!r}; expected numbers: x y width height and six marks.') from None
    invalid = marks[_INVALID - _LEAST_COLUMNS] if len(marks) > _INVALID - _LEAST_COLUMNS else 0
    return VocObject('face', [x, y, x + width, y + height], truth(bool(invalid)))


@DATASETS.register_module()
class WIDERFaceDataset(XMLDataset):
    """Faces, from XML files as VOC has them, or from the benchmark's own list.

    ``ann_file`` is a list of names, one a line, each with an XML file ``Annotations/NAME.xml`` in
    ``data_prefix['img']`` whose ``folder`` says in which folder the picture is (``0--Parade``). Or it is
    ``wider_face_train_bbx_gt.txt``, which has all annotations. Pictures are looked for in ``data_prefix['img']`` and,
    as the archives unpack them, in ``images`` there. Faces marked invalid or difficult get ``ignore_flag``.

    Args:
        ann_file: ``train.txt``, or ``wider_face_split/wider_face_train_bbx_gt.txt``, relative to ``data_root``.
        data_prefix: ``dict(img='WIDER_train')``.
        filter_cfg: ``dict(filter_empty_gt=True, min_size=32, bbox_min_size=17)``, as of ``XMLDataset``.

    The other arguments are those of ``BaseDetDataset``.
    """

    ACCEPTED_PREFIXES = ('img',)
    METAINFO = {'classes': ('face',), 'palette': [(0, 255, 0)]}

    def load_data_list(self) -> list[dict]:
        """Data infos of all pictures that ``ann_file`` lists."""
        lines = read_lines(self.ann_file, self.backend_args)
        if not lines or not lines[0].endswith('.jpg'):
            return super().load_data_list()
        self.report = SkipReport(self.ann_file)
        pictures = read_face_list(self.ann_file, self.backend_args)
        ids = [osp.splitext(name)[0] for name in pictures]
        return self.data_infos(ids, [VocImage(name, None, None, faces) for name, faces in pictures.items()])

    @property
    def sub_data_root(self) -> str:
        """Folder of the pictures and of ``Annotations``."""
        return self.data_prefix.get('img', '')

    def image_path(self, img_id: str, image: VocImage) -> str:
        """The file of a picture, of which ``image`` is the annotation."""
        name = osp.join(image.folder, image_file(image, img_id))
        direct = osp.join(self.sub_data_root, name)
        unpacked = osp.join(self.sub_data_root, 'images', name)
        return unpacked if os.path.exists(unpacked) and not os.path.exists(direct) else direct
