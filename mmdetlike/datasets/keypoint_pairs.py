"""What metainfo says of keypoints: names, which ones change places in a mirror, which ones a line connects."""

from collections.abc import Sequence

from ..errors import ConfigError


def keypoint_flip_indices(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[int]:
    """For each keypoint of a mirrored object, the index of the one that it was before.

    Args:
        names: Of all keypoints, in their order.
        pairs: Names of left and right ones that change places; others stay.

    Raises:
        ConfigError: A pair names what isn't there, or one keypoint stands in two pairs.
    """
    indices = list(range(len(names)))
    seen: set[str] = set()
    for left, right in pairs:
        for name in (left, right):
            if name not in names:
                raise ConfigError(f'keypoint_flip_map has {name!r}; expected one of keypoint_names={list(names)}.')
            if name in seen:
                raise ConfigError(f'keypoint_flip_map has {name!r} in two pairs.')
            seen.add(name)
        indices[names.index(left)] = names.index(right)
        indices[names.index(right)] = names.index(left)
    return indices


def keypoint_links(names: Sequence[str], rules: Sequence[tuple]) -> list[tuple[int, int]]:
    """Pairs of indices of keypoints that are connected by a line.

    Args:
        names: Of all keypoints, in their order.
        rules: (name, name, (red, green, blue)), the color left out or not.

    Raises:
        ConfigError: A rule names what isn't there.
    """
    for rule in rules:
        for name in rule[:2]:
            if name not in names:
                raise ConfigError(
                    f'keypoint_connection_rules has {name!r}; expected one of keypoint_names={list(names)}.'
                )
    return [(names.index(rule[0]), names.index(rule[1])) for rule in rules]


def with_keypoint_indices(metainfo: dict) -> dict:
    """``metainfo`` with ``flip_indices``, ``skeleton_links`` and ``skeleton_colors`` as far as names say them.

    What is there already stays.
    """
    names = list(metainfo.get('keypoint_names') or ())
    if not names:
        return metainfo
    found = {}
    if 'keypoint_flip_map' in metainfo:
        found['flip_indices'] = keypoint_flip_indices(names, metainfo['keypoint_flip_map'])
    rules = metainfo.get('keypoint_connection_rules')
    if rules:
        found['skeleton_links'] = keypoint_links(names, rules)
        if all(len(rule) > 2 for rule in rules):
            found['skeleton_colors'] = [tuple(rule[2]) for rule in rules]
    return {**found, **metainfo}
