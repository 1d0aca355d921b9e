"""A data set without files: shapes drawn on the fly, with boxes, masks and keypoints."""

from mmdetlike.registry import DATASETS, TRANSFORMS
from mmdetlike.utils.colors import distinct_colors

from ..base import BaseDetDataset
from . import render
from .render import Scene, SceneSpec

MIN_IMAGE_SIDE = 64
PANOPTIC_CLASSES = render.CLASSES + render.STUFF_CLASSES
PANOPTIC_METAINFO = {
    'classes': PANOPTIC_CLASSES,
    'thing_classes': render.CLASSES,
    'stuff_classes': render.STUFF_CLASSES,
    'palette': distinct_colors(len(PANOPTIC_CLASSES)),
}


@DATASETS.register_module()
class ShapesDataset(BaseDetDataset):
    """Pictures of circles, triangles, squares, stars and crosses, the same ones for the same arguments everywhere.

    The box and the mask of a shape are those of its visible part, at least half of it. The keypoints are its corners
    (of a circle its four extremes), in six slots so arranged that ``metainfo['flip_indices']`` mirrors every class;
    visibility is 2 for seen, 1 for covered, 0 for a slot that the class doesn't use. The pipeline starts with
    ``LoadShapesImage``, which draws the picture.

    Args:
        length: How many pictures.
        seed: Of the data set; another seed gives other pictures.
        image_size: Height and width in pixels, each at least 64.
        split: Name of the part: parts of the same seed differ, so ``'train'`` and ``'val'`` don't overlap.
        max_objects: Shapes in a picture: from one to this many.
        with_stuff: The background is sky and ground, two more classes: samples have ``segments_info`` and
            ``panoptic_map`` for ``LoadPanopticAnnotations``.
        rotated: Shapes are longer than wide and tilted in any direction; a box is the quadrilateral x1, y1, ..., x4, y4
            that is tilted with its shape, for ``LoadAnnotations(box_type='rbox')``.

    The other arguments are those of ``BaseDetDataset``.
    """

    METAINFO = {
        'classes': render.CLASSES,
        'palette': distinct_colors(len(render.CLASSES)),
        'keypoint_names': render.KEYPOINT_NAMES,
        'flip_indices': (0, 2, 1, 4, 3, 5),
        'sigmas': (0.05,) * len(render.KEYPOINT_NAMES),
    }

    def __init__(
        self,
        length: int = 500,
        seed: int = 0,
        image_size: tuple[int, int] = (160, 160),
        split: str = 'train',
        max_objects: int = 6,
        with_stuff: bool = False,
        rotated: bool = False,
        **kwargs,
    ) -> None:
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(height, width) < MIN_IMAGE_SIDE:
            raise ValueError(f'image_size should be at least {MIN_IMAGE_SIDE} px a side, got {image_size}.')
        if length < 1 or not 1 <= max_objects <= 100:
            raise ValueError(f'length should be positive and max_objects in 1..100, got {length} and {max_objects}.')
        self.with_stuff = with_stuff
        settings = (height, width, max_objects, with_stuff, rotated)
        self._specs = [SceneSpec(seed, split, i, *settings) for i in range(length)]
        if with_stuff:
            kwargs['metainfo'] = PANOPTIC_METAINFO | (kwargs.get('metainfo') or {})
        super().__init__(**kwargs)
        classes = PANOPTIC_CLASSES if with_stuff else render.CLASSES
        if tuple(self.metainfo['classes']) != classes:
            raise ValueError(f'ShapesDataset has the classes {classes}, not {self.metainfo["classes"]}.')

    @property
    def source(self) -> str:
        """The name of this dataset in messages."""
        return type(self).__name__

    def load_data_list(self) -> list[dict]:
        """Data infos without instances: ``get_data_info`` adds those."""
        return [
            {
                'img_path': f'shapes_{spec.split}_{spec.seed}_{spec.index:06d}.png',
                'img_id': spec.index,
                'seg_map_path': None,
                'height': spec.height,
                'width': spec.width,
                'scene': spec,
            }
            for spec in self._specs
        ]

    def filter_data(self) -> list[dict]:
        """All data infos: every picture has objects."""
        self._filter_config()
        return self.data_list

    def get_data_info(self, idx: int) -> dict:
        """Data info of picture ``idx``, its instances laid out now."""
        info = super().get_data_info(idx)
        scene = Scene(info['scene'])
        info['instances'] = scene.instances()
        if self.with_stuff:
            info['panoptic_map'], info['segments_info'] = scene.panoptic()
        return info


@TRANSFORMS.register_module()
class LoadShapesImage:
    """Draw the picture of a sample of ``ShapesDataset``: adds ``img`` (H, W, 3 BGR), ``img_shape`` and ``ori_shape``.

    Args:
        to_float32: Give the picture as float32 instead of uint8.
        max_cached: Pictures to keep in memory in each process; later ones are drawn each time.
    """

    def __init__(self, to_float32: bool = False, max_cached: int = 2000) -> None:
        self.to_float32 = to_float32
        self.max_cached = max_cached
        self._drawn: dict[SceneSpec, object] = {}

    def __call__(self, results: dict) -> dict:
        """Add the picture to ``results``, which holds ``scene``."""
        if 'scene' not in results:
            raise ValueError(f'LoadShapesImage draws samples of ShapesDataset; this one has only {sorted(results)}.')
        image = self._image(results['scene'])
        results['img'] = image.astype('float32') if self.to_float32 else image.copy()
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        results['scale_factor'] = (1.0, 1.0)
        return results

    def _image(self, spec: SceneSpec):
        if spec in self._drawn:
            return self._drawn[spec]
        image = render.paint(Scene(spec))
        if len(self._drawn) < self.max_cached:
            self._drawn[spec] = image
        return image

    def __repr__(self) -> str:
        return f'{type(self).__name__}(to_float32={self.to_float32}, max_cached={self.max_cached})'
