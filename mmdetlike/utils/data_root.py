"""Where datasets are: one environment variable moves the common folder of all of them."""

import os

VARIABLE = 'MMDETLIKE_DATASETS'
DEFAULT_ROOT = 'data'


def rooted(data_root: str) -> str:
    """``data_root`` below the folder that MMDETLIKE_DATASETS names, if it is set.

    ``data/coco`` is then ``$MMDETLIKE_DATASETS/coco``: the variable stands for ``data``, which the configs of the zoo
    begin with. Absolute paths, addresses (``s3://...``), ``./data/coco`` and those that begin otherwise stay as they
    are.
    """
    common = os.environ.get(VARIABLE)
    if not common:
        return data_root
    first, _, rest = data_root.replace(os.sep, '/').partition('/')
    # absolute, so that a path which went through here may do so again
    return os.path.join(os.path.abspath(os.path.expanduser(common)), rest) if first == DEFAULT_ROOT else data_root
