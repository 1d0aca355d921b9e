from .data_preprocessor import BatchFixedSizePad, BatchSyncRandomResize, DetDataPreprocessor

__all__ = ['BatchFixedSizePad', 'BatchSyncRandomResize', 'DetDataPreprocessor']
