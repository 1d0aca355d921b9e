from .boxinst import BoxInstDataPreprocessor
from .data_preprocessor import (
    BatchFixedSizePad,
    BatchResize,
    BatchSyncRandomResize,
    DetDataPreprocessor,
    FixedSizeDataPreprocessor,
)
from .nested import MultiBranchDataPreprocessor, TrackDataPreprocessor
