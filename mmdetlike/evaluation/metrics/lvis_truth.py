"""The ground truth of an LVIS file: a COCO file that says for which classes each image was annotated."""

from collections.abc import Mapping, Sequence

from ...datasets.coco_file import CATEGORIES, IMAGES, CocoFile
from ...datasets.errors import DataError
from ...datasets.records import Field, Table, identifier, same_id
from ..functional.lvis_eval import FREQUENCIES
from .coco_truth import CocoTruth


def _identifiers(value: object) -> list[int | str]:
    if not isinstance(value, list):
        raise ValueError
    return [identifier(one) for one in value]


def _frequency(value: object) -> str:
    if value not in FREQUENCIES:
        raise ValueError
    return value


_IDS = 'a list of ids of categories'
_IMAGES = Table(
    'an image',
    (
        *IMAGES.fields,
        Field('neg_category_ids', _identifiers, _IDS, required=True),
        Field('not_exhaustive_category_ids', _identifiers, _IDS, required=True),
    ),
    IMAGES.name,
)
_FREQUENCIES = Table(
    'a category',
    (*CATEGORIES.fields, Field('frequency', _frequency, "'r', 'c' or 'f'", required=True)),
    CATEGORIES.name,
)


class LvisTruthFile(CocoFile):
    """An LVIS file, v0.5 or v1: a COCO file whose images and categories have a few fields more.

    Attributes:
        frequencies: 'r', 'c' or 'f' of each category, by ``same_id``.
    """

    image_table = _IMAGES

    def read_lists(self, content: dict) -> None:
        """Read how frequent the categories are, too."""
        super().read_lists(content)
        rows = [_FREQUENCIES.read(row, self.path) for row in content['categories']]
        self.frequencies = {same_id(row['id']): row['frequency'] for row in rows}


class LvisTruth(CocoTruth):
    """As ``CocoTruth``, of an LVIS file.

    Raises:
        DataError: The file can't be used, or lacks what LVIS has beside COCO's fields.
    """

    file_type = LvisTruthFile

    def categories(self, classes: Sequence[str]) -> tuple[list[dict], list[int | str | None]]:
        """Categories to evaluate (``id``, ``name`` and ``frequency``), and the category id of each label."""
        rows, ids = super().categories(classes)
        return [{**row, 'frequency': self.file.frequencies[same_id(row['id'])]} for row in rows], ids

    def images(self, seen: Mapping[str, tuple[int, int] | None]) -> list[dict]:
        """Images that were predicted; ``negative`` and ``not_exhaustive`` are names of categories."""
        name_of = {same_id(category['id']): category['name'] for category in self.file.categories}
        rows = super().images(seen)
        for row in rows:
            image = self.file.images[self.file.image_places[same_id(row['id'])]]
            row['negative'] = self._names(image, 'neg_category_ids', name_of)
            row['not_exhaustive'] = self._names(image, 'not_exhaustive_category_ids', name_of)
        return rows

    def _names(self, image: dict, key: str, name_of: Mapping[str, str]) -> list[str]:
        unknown = [category for category in image[key] if same_id(category) not in name_of]
        if unknown:
            raise DataError(
                f'{self.ann_file}: {key} of image {image["id"]!r} has {unknown[0]!r}; '
                f'expected ids of listed categories.'
            )
        return [name_of[same_id(category)] for category in image[key]]
