from .boxinst import BoxInstDataPreprocessor
from .data_preprocessor import (
    BatchFixedSizePad,
    BatchResize,
    BatchSyncRandomResize,
    DetDataPreprocessor,
    FixedSizeDataPreprocessor,
)
from .multi_branch import MultiBranchDataPreprocessor
from .track import TrackDataPreprocessor
