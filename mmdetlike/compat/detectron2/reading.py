"""Which settings of a config a translation has looked at."""

import functools
import re
from collections.abc import Iterator, Mapping

from .defaults import DEFAULTS
from .project_defaults import DEEPLAB_DEFAULTS, PANOPTIC_DEEPLAB_DEFAULTS

# parts of MODEL that another key of it switches on
SWITCHES = {'ROI_MASK_HEAD': 'MASK_ON', 'ROI_KEYPOINT_HEAD': 'KEYPOINT_ON'}


class Followed(dict):
    """A config, or a part of one, that remembers the keys that were asked for.

    Args:
        values: The config as plain data.
        prefix: The path of the part, with a point at its end.
        read: Where paths of keys go; by default a new set, ``self.read``.
    """

    def __init__(self, values: Mapping, prefix: str = '', read: set[str] | None = None) -> None:
        self.prefix = prefix
        self.read: set[str] = set() if read is None else read
        super().__init__({key: self._followed(key, value) for key, value in values.items()})

    def _followed(self, key: str, value):
        return Followed(value, f'{self.prefix}{key}.', self.read) if isinstance(value, Mapping) else value

    def __getitem__(self, key: str):
        self.read.add(self.prefix + key)
        return super().__getitem__(key)

    def get(self, key: str, default=None):
        self.read.add(self.prefix + key)
        return super().get(key, default)

    def unread(self) -> list[str]:
        """``KEY=VALUE`` of each setting that nobody asked for and that isn't Detectron2's default.

        Those of parts that the model doesn't have, as of the mask head of a detector of boxes, are none.
        """
        return [
            f'{path}={value!r}'
            for path, value in leaves(self)
            if path not in self.read and not _is_default(path, value) and not self._is_of_absent_part(path)
        ]

    def _is_of_absent_part(self, path: str) -> bool:
        part = re.match(r'MODEL\.(\w+)\.', path)
        if part is None:
            return False
        switched_off = part[1] in SWITCHES and not dict.get(self['MODEL'], SWITCHES[part[1]], True)
        return switched_off or not any(read.startswith(part[0]) for read in self.read)


def _is_default(path: str, value) -> bool:
    return any(path in known and known[path] == value for known in _defaults())


@functools.cache
def _defaults() -> list[dict[str, object]]:
    return [dict(leaves(settings)) for settings in (DEFAULTS, DEEPLAB_DEFAULTS, PANOPTIC_DEEPLAB_DEFAULTS)]


def leaves(values: Mapping, prefix: str = '') -> Iterator[tuple[str, object]]:
    """Each value that is no mapping, with its path."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value
