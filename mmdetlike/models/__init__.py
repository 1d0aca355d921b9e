from . import (
    backbones,
    data_preprocessors,
    detectors,
    heads,
    layers,
    losses,
    necks,
    task_modules,
    test_time_augs,
    utils,
)
