from .data_preprocessor import BatchSyncRandomResize, DetDataPreprocessor

__all__ = ['BatchSyncRandomResize', 'DetDataPreprocessor']
