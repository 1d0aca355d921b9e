"""The settings of a run: which exist, which values they take, and the errors and warnings about others."""

from .check import check_settings
from .loaders import check_loader, without_worker_settings
from .prediction import check_test_cfg
from .unread import unread_options, unread_settings

__all__ = [
    'check_loader',
    'check_settings',
    'check_test_cfg',
    'unread_options',
    'unread_settings',
    'without_worker_settings',
]
