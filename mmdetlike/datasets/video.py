"""Videos in the format of COCO-VID: one JSON file with the frames of all videos, whose objects have identities."""

from collections import defaultdict

from ..registry import DATASETS
from .coco import CocoDataset
from .coco_file import FRAMES, TRACKED_OBJECTS, VIDEOS, CocoFile
from .errors import DataError
from .records import same_id


class CocoVideoFile(CocoFile):
    """A COCO file whose images are frames.

    It has a list ``videos`` (``id``, ``name``); images have ``video_id`` and ``frame_id``, annotations may have
    ``instance_id``, the same for an object in all frames of its video.

    Attributes:
        videos: Of each ``id`` and ``name``.

    Raises:
        DataError: As `CocoFile`; or a frame is of a video that isn't listed, or two of a video have one ``frame_id``.
    """

    image_table = FRAMES
    object_table = TRACKED_OBJECTS
    needed_lists = ('videos', 'images', 'categories')

    def read_lists(self, content: dict) -> None:
        super().read_lists(content)
        self.videos = [VIDEOS.read(row, self.path) for row in content['videos']]
        self._check_frames()

    def _check_frames(self) -> None:
        known = {same_id(video['id']) for video in self.videos}
        places: dict[tuple[str, int], dict] = {}
        for image in self.images:
            video = same_id(image['video_id'])
            if video not in known:
                raise DataError(
                    f'{self.path}: image {image["id"]!r} is of video {image["video_id"]!r}, which videos does not list.'
                )
            other = places.setdefault((video, image['frame_id']), image)
            if other is not image:
                raise DataError(
                    f'{self.path}: images {other["id"]!r} and {image["id"]!r} both are frame {image["frame_id"]} of '
                    f'video {image["video_id"]!r}; expected one image a frame.'
                )


@DATASETS.register_module()
class BaseVideoDataset(CocoDataset):
    """Clips from a COCO-VID JSON file: a sample is a video.

    The pipeline gets ``dict(frames, key_frame_flags, video_id, video_length)``. ``frames`` are dicts as `CocoDataset`
    makes them of images, with ``frame_id``, ``video_id`` and ``video_length`` beside; ``key_frame_flags`` says of each
    whether it is looked at, at first of all. ``TransformBroadcaster`` runs transforms of images on the frames,
    ``UniformRefFrameSample`` chooses some, ``PackTrackInputs`` packs them. An instance has its ``instance_id``, if the
    file gives one.

    By ``filter_cfg`` videos are left out of training: those without any object, those whose first frame is too small.

    The arguments are those of `CocoDataset`; ``data_prefix`` may say ``img_path`` for ``img``.

    Raises:
        DataError: As `CocoDataset`; or a frame is of an unlisted video, or there twice.
    """

    UNIT = 'videos'
    PREFIX_ALIASES = {'img_path': 'img'}
    file_type = CocoVideoFile

    def image_info(self, image: dict) -> dict:
        """The data info of a frame, without instances."""
        return {**super().image_info(image), 'frame_id': image['frame_id'], 'video_id': image['video_id']}

    def load_data_list(self) -> list[dict]:
        """Data infos of all videos of the file, in its order; ``images`` are those of their frames."""
        frames = super().load_data_list()
        videos = defaultdict(list)
        for frame in frames:
            videos[same_id(frame['video_id'])].append(frame)
        return [self.video_info(sorted(video, key=lambda frame: frame['frame_id'])) for video in videos.values()]

    def video_info(self, frames: list[dict]) -> dict:
        """The data info of a video by those of its frames; path and size are the first frame's."""
        first = frames[0]
        for frame in frames:
            frame['video_length'] = len(frames)
        return {
            **{key: first[key] for key in ('img_path', 'width', 'height', 'video_id', 'video_length')},
            'images': frames,
            'instances': [instance for frame in frames for instance in frame['instances']],
        }

    def pipeline_input(self, idx: int) -> dict:
        """The dict that enters the pipeline for video ``idx``."""
        video = self.get_data_info(idx)
        shared = {'test_mode': self.test_mode}
        if 'flip_indices' in self.metainfo:
            shared['flip_indices'] = self.metainfo['flip_indices']
        frames = [{**frame, **shared} for frame in video['images']]
        clip = {key: video[key] for key in ('video_id', 'video_length')}
        return {**clip, **shared, 'frames': frames, 'key_frame_flags': [True] * len(frames)}
