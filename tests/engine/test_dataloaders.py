"""Settings of data loaders that are no settings, or contradict each other."""

import pytest

from mmdetlike.errors import ConfigError
from mmdetlike.utils.settings import check_loader, without_worker_settings

LOADER = dict(batch_size=2, num_workers=1, sampler=dict(type='DefaultSampler'), dataset=dict(type='ShapesDataset'))


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(prefetch_factor=0), 'prefetch_factor=0: it should be a whole number of at least 1, or None'),
        (dict(prefetch_factor=0, num_workers=0), 'prefetch_factor=0: it should be'),
        (dict(prefetch_factor=1.5), r'prefetch_factor=1\.5: it should be'),
        (dict(timeout=-1), 'timeout=-1: it should be a number of seconds, at least 0'),
        (dict(timeout='5'), "timeout='5': it should be a number"),
        (dict(multiprocessing_context='nosuch'), r"multiprocessing_context='nosuch': it should be one of \['fork'"),
        (dict(pin_memory='abc'), "pin_memory='abc': it should be True or False"),
        (dict(persistent_workers=None), 'persistent_workers=None: it should be True or False'),
        (dict(drop_last='False'), "drop_last='False': it should be True or False"),
        (
            dict(shuffle=True),
            r"shuffle=True: the order is that of the sampler; set sampler=dict\(type='DefaultSampler'",
        ),
    ],
)
def test_values_that_are_none(settings, message):
    loader = LOADER | settings
    with pytest.raises(ConfigError, match=message) as caught:
        check_loader(loader)
    assert caught.value.cfg is loader  # by which the key is found


def test_values_that_are_some():
    settings = dict(prefetch_factor=None, timeout=2.5, multiprocessing_context='spawn', pin_memory=1, drop_last=False)
    check_loader(LOADER | settings)
    assert without_worker_settings(LOADER | settings) == LOADER | settings
    alone = dict(num_workers=0, pin_memory=1, drop_last=False)
    assert without_worker_settings(LOADER | settings | dict(num_workers=0)) == LOADER | alone
