"""Datasets whose classes are those of their annotation file."""

from ..utils.colors import distinct_colors
from .coco_file import CocoFile


class ClassesFromFile:
    """Mixed into a kind of ``CocoDataset``: without ``metainfo['classes']``, classes are the categories of the file.

    Labels follow the category ids, which is how the benchmarks with long class lists number them (LVIS, Objects365,
    V3Det). So no list of names is repeated in code, and a new release of the file needs no new code.

    With ``lazy_init``, ``metainfo`` has no classes until the file is read.
    """

    METAINFO: dict = {}

    def read_file(self) -> CocoFile:
        """The annotation file, checked; if no classes are given, they are taken from it."""
        file = super().read_file()
        if not self._metainfo.get('classes'):
            self._metainfo.update(self.classes_of(file))
        return file

    def classes_of(self, file: CocoFile) -> dict:
        """The metainfo that a file gives: ``classes`` in the order of their ids, and ``palette``."""
        names = names_by_id(file.categories)
        return {'classes': names, 'palette': distinct_colors(len(names))}


class PanopticClassesFromFile(ClassesFromFile):
    """The same for a kind of ``CocoPanopticDataset``: things come first, each kind in the order of its ids."""

    def classes_of(self, file: CocoFile) -> dict:
        """The metainfo that a file gives: ``classes``, ``thing_classes``, ``stuff_classes`` and ``palette``."""
        things = names_by_id([category for category in file.categories if category['isthing']])
        stuff = names_by_id([category for category in file.categories if not category['isthing']])
        classes = things + stuff
        palette = distinct_colors(len(classes))
        return {'classes': classes, 'thing_classes': things, 'stuff_classes': stuff, 'palette': palette}


def names_by_id(categories: list[dict]) -> tuple[str, ...]:
    """The names of categories in the order of their ids; ids that are text come after the numbers."""

    def sort_key(category: dict) -> tuple[bool, float, str]:
        text = str(category['id'])
        is_number = text.isdecimal()
        return not is_number, float(text) if is_number else 0.0, text

    # A name that two ids share is here once: the error is then about the file, not about the list of classes.
    return tuple(dict.fromkeys(category['name'] for category in sorted(categories, key=sort_key)))
