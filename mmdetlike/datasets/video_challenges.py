"""Videos as the challenges publish them: YouTube-VIS in one JSON file, MOTChallenge in folders of text files."""

import configparser
import os
import os.path as osp
from dataclasses import dataclass

from ..registry import DATASETS
from ..utils.colors import distinct_colors
from .annotations import read_text, shortened
from .classes_from_file import ClassesFromFile
from .coco_file import VIDEOS
from .errors import DataError
from .records import Field, Table, identifier, optional_identifier, real_number, records, same_id, truth, whole_number
from .text_tables import numbered_lines
from .video import BaseVideoDataset, CocoVideoFile

_RAW_VIDEOS = Table(
    'a video',
    (
        *VIDEOS.fields,
        *(Field(side, whole_number, 'a whole number of pixels', required=True) for side in ('width', 'height')),
        Field('file_names', records, 'a list of the names of its frames', required=True),
    ),
    VIDEOS.name,
)
_PER_FRAME = 'a list with an entry for each frame, null where the object is not seen'


def _optional_records(value: object) -> list | None:
    return None if value is None else records(value)


_TRACKS = Table(
    'an annotation',
    (
        Field('id', whole_number, 'a whole number', required=True),
        Field('video_id', identifier, 'a whole number or text', required=True),
        Field('category_id', optional_identifier, 'a whole number or text', required=True),
        Field('iscrowd', truth, '0 or 1'),
        Field('bboxes', records, _PER_FRAME, required=True),
        Field('segmentations', _optional_records, _PER_FRAME),
    ),
    lambda row: f'annotation {row.get("id")} of video {row.get("video_id")!r}',
)


class YouTubeVISFile(CocoVideoFile):
    """A file of YouTube-VIS: videos that list their frames, and an annotation for each object of a video.

    One that a converter has turned into COCO-VID, with ``images``, is read as that.

    Raises:
        DataError: As `CocoVideoFile`; or an annotation has not one entry for each frame of its video.
    """

    needed_lists = ('videos', 'categories')

    def read_lists(self, content: dict) -> None:
        if 'images' not in content:
            content = {**content, **self._frames(content)}
        super().read_lists(content)

    def _frames(self, content: dict) -> dict:
        """``images`` and ``annotations`` of COCO-VID; ids count from 1 on."""
        images = []
        ids = {}
        for row in content['videos']:
            video = _RAW_VIDEOS.read(row, self.path)
            size = {'width': video['width'], 'height': video['height']}
            start = len(images)
            for number, name in enumerate(video['file_names']):
                frame = {'id': len(images) + 1, 'file_name': name, 'video_id': video['id'], 'frame_id': number}
                images.append({**frame, **size})
            ids[same_id(video['id'])] = range(start + 1, len(images) + 1)
        tracks = content.get('annotations')
        if tracks is None:
            return {'images': images}
        found = [one for row in tracks for one in self._objects(_TRACKS.read(row, self.path), ids)]
        return {'images': images, 'annotations': [{'id': number, **one} for number, one in enumerate(found, 1)]}

    def _objects(self, track: dict, ids: dict[str, range]) -> list[dict]:
        """The annotations of an object in the frames that show it."""
        frames = ids.get(same_id(track['video_id']))
        if frames is None:
            raise DataError(f'{self.path}: {_TRACKS.name(track)} is of a video that videos does not list.')
        for key in ('bboxes', 'segmentations'):
            if track[key] is not None and len(track[key]) != len(frames):
                raise DataError(
                    f'{self.path}: {_TRACKS.name(track)} has {len(track[key])} {key}, but its video has {len(frames)} '
                    'frames; expected one for each, null where the object is not seen.'
                )
        masks = track['segmentations'] or [None] * len(frames)
        shared = {'category_id': track['category_id'], 'iscrowd': track['iscrowd'], 'instance_id': track['id']}
        return [
            {'image_id': frame, 'bbox': box, 'segmentation': mask, **shared}
            for frame, box, mask in zip(frames, track['bboxes'], masks)
            if box is not None
        ]


@DATASETS.register_module()
class YouTubeVISDataset(ClassesFromFile, BaseVideoDataset):
    """YouTube-VIS (Video Instance Segmentation, arXiv:1905.04804), of 2019, 2021 and 2022, and what has its format.

    The JSON file is read as it is published (``train.json``) and as COCO-VID, into which others convert it. Classes are
    those of the file, in the order of their ids. Arguments are those of `BaseVideoDataset`, and:

    Args:
        dataset_version: Of no effect: the file says its classes.
        ann_file: ``train.json``.
        data_prefix: ``dict(img='train/JPEGImages')``; ``img_path`` is another name of ``img``.
    """

    file_type = YouTubeVISFile

    def __init__(self, *args, dataset_version: str | None = None, **kwargs) -> None:
        self.dataset_version = dataset_version
        super().__init__(*args, **kwargs)


_PEDESTRIAN = 1  # the class of MOT16 and later that counts; others are vehicles, distractors and what hides people


@dataclass(frozen=True)
class _Sequence:
    """A folder of MOTChallenge: where its frames are, as ``seqinfo.ini`` says."""

    name: str
    folder: str
    images: str
    suffix: str
    length: int
    width: int
    height: int


def _read_sequence(name: str, folder: str, backend_args: dict | None) -> _Sequence:
    path = osp.join(folder, 'seqinfo.ini')
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(path, backend_args))
        section = parser['Sequence']
        numbers = [int(section[key]) for key in ('seqLength', 'imWidth', 'imHeight')]
    except (configparser.Error, KeyError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise DataError(
            f'{path}: expected [Sequence] with whole numbers seqLength, imWidth and imHeight: {reason}.'
        ) from error
    return _Sequence(name, folder, section.get('imDir', 'img1'), section.get('imExt', '.jpg'), *numbers)


class MOTFolder(CocoVideoFile):
    """Folders of MOTChallenge, each with ``seqinfo.ini``, frames ``img1/000001.jpg`` and ``gt/gt.txt``, as COCO-VID.

    A line of ``gt.txt`` is frame, identity, x, y, width, height, whether it counts, class and visible share; pixels
    count from 1. Persons that don't count are to be ignored; other classes are left out.
    """

    def __init__(
        self, path: str, visibility_thr: float = -1, backend_args: dict | None = None, needs_annotations: bool = True
    ) -> None:
        self.visibility_thr = visibility_thr
        super().__init__(path, backend_args, needs_annotations)

    def read_content(self, backend_args: dict | None) -> dict:
        """COCO-VID's lists of the sequences in the folder ``path``, in the order of their names."""
        if not osp.isdir(self.path):
            raise FileNotFoundError(f'The folder of sequences {self.path!r} does not exist.')
        names = sorted(
            entry for entry in os.listdir(self.path) if osp.isfile(osp.join(self.path, entry, 'seqinfo.ini'))
        )
        if not names:
            raise DataError(f'{self.path}: there are no sequences in it, no folder with a seqinfo.ini.')
        content = {'videos': [], 'images': [], 'annotations': [], 'categories': [{'id': 1, 'name': 'pedestrian'}]}
        for name in names:
            self._add_sequence(content, _read_sequence(name, osp.join(self.path, name), backend_args), backend_args)
        return content

    def _add_sequence(self, content: dict, sequence: _Sequence, backend_args: dict | None) -> None:
        video_id = len(content['videos']) + 1
        content['videos'].append({'id': video_id, 'name': sequence.name})
        start = len(content['images'])
        for number in range(1, sequence.length + 1):
            file_name = f'{sequence.name}/{sequence.images}/{number:06d}{sequence.suffix}'
            frame = {'id': start + number, 'file_name': file_name, 'video_id': video_id, 'frame_id': number - 1}
            content['images'].append({**frame, 'width': sequence.width, 'height': sequence.height})
        path = osp.join(sequence.folder, 'gt', 'gt.txt')
        if not osp.isfile(path):
            return  # a sequence to test on
        for line, text in numbered_lines(path, backend_args):
            one = self._object(f'{path}, line {line}', text, sequence.length)
            if one is not None:
                one['image_id'] += start
                content['annotations'].append({'id': len(content['annotations']) + 1, **one})

    def _object(self, place: str, text: str, length: int) -> dict | None:
        """The annotation of a line, its ``image_id`` counted in the sequence; None of what is left out."""
        cells = text.split(',')
        try:
            frame, identity = (whole_number(cell) for cell in cells[:2])
            x, y, width, height = map(real_number, cells[2:6])
            counts, category = (whole_number(cell) for cell in [*cells[6:8], *('1', '1')[len(cells[6:8]) :]])
            visible = real_number(cells[8]) if len(cells) > 8 else 1.0
        except ValueError:
            raise DataError(
                f'{place}: expected frame, identity, x, y, width, height, 1 or 0, class, visibility, '
                f'got {shortened(text)}.'
            ) from None
        if not 1 <= frame <= length:
            raise DataError(f'{place}: frame {frame} is not one of 1 to {length}, as seqinfo.ini says.')
        if category != _PEDESTRIAN or visible <= self.visibility_thr:
            return None
        box = [x - 1, y - 1, width, height]
        ignored = {'ignore': int(counts == 0)}
        return {'image_id': frame, 'category_id': 1, 'bbox': box, 'instance_id': identity, **ignored}


@DATASETS.register_module()
class MOTChallengeDataset(BaseVideoDataset):
    """Pedestrians of MOTChallenge (MOT16, MOT17: arXiv:1603.00831; MOT20: arXiv:2003.09003).

    Without ``ann_file`` the folders of the benchmark are read; with one, COCO-VID, into which others convert them.

    Args:
        visibility_thr: Leave out objects of which no larger share than this is visible.
        data_prefix: ``dict(img='MOT17/train')``, the folder of the sequences; ``img_path`` is another name of ``img``.

    The other arguments are those of `BaseVideoDataset`.
    """

    METAINFO = {'classes': ('pedestrian',), 'palette': distinct_colors(1)}

    def __init__(self, *args, visibility_thr: float = -1, **kwargs) -> None:
        self.visibility_thr = visibility_thr
        super().__init__(*args, **kwargs)

    def read_file(self) -> CocoVideoFile:
        """The annotation file or the folders, checked."""
        if self.ann_file:
            return super().read_file()
        folder = self.data_prefix.get('img', '')
        return MOTFolder(folder, self.visibility_thr, self.backend_args, needs_annotations=not self.test_mode)
