"""The settings that a run reads: their names and kinds, and the closest one to an unknown name."""

import difflib
from collections.abc import Iterable, Iterator

from mmengine.config import Config as MMEngineConfig

from mmdetlike.utils.config import dicts_within

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

# top-level names that the Runner, the tools or inference read, and what they take; None is taken everywhere
SETTINGS: dict[str, tuple[type, ...]] = {
    'auto_scale_lr': (dict,),
    'compile': (bool, dict),
    'custom_hooks': (list, tuple),
    'custom_imports': (dict,),
    'data_preprocessor': (dict,),
    'default_hooks': (dict,),
    'default_scope': (str,),
    'env_cfg': (dict,),
    'experiment_name': (str,),
    'find_unused_parameters': (bool,),
    'launcher': (str,),
    'load_from': (str,),
    'log_level': (str, int),
    'log_processor': (dict,),
    'model': (dict,),
    'model_wrapper_cfg': (dict,),
    'optim_wrapper': (dict,),
    'param_scheduler': (dict, list, tuple),
    'randomness': (dict,),
    'resume': (bool,),
    'runner_type': (str,),
    'test_cfg': (dict,),
    'test_dataloader': (dict,),
    'test_evaluator': (dict, list, tuple),
    'train_cfg': (dict,),
    'train_dataloader': (dict,),
    'tta_model': (dict,),
    'tta_pipeline': (list, tuple),
    'val_cfg': (dict,),
    'val_dataloader': (dict,),
    'val_evaluator': (dict, list, tuple),
    'visualizer': (dict,),
    'work_dir': (str,),
}

# names of OpenMMLab's generation 2 that would change a training, and what has taken their place
OLD_NAMES = {
    'data': 'train_dataloader, val_dataloader and test_dataloader',
    'runner': 'train_cfg=dict(type=..., max_epochs=...)',
    'optimizer': 'optim_wrapper=dict(optimizer=...)',
    'optimizer_config': 'optim_wrapper=dict(clip_grad=...)',
    'lr_config': 'param_scheduler',
    'momentum_config': 'param_scheduler',
    'total_epochs': 'train_cfg=dict(max_epochs=...)',
    'evaluation': 'val_evaluator and train_cfg=dict(val_interval=...)',
    'checkpoint_config': 'default_hooks=dict(checkpoint=...)',
    'log_config': 'default_hooks=dict(logger=...) and visualizer',
    'dist_params': 'env_cfg=dict(dist_cfg=...)',
    'opencv_num_threads': 'env_cfg=dict(mp_cfg=...)',
    'mp_start_method': 'env_cfg=dict(mp_cfg=...)',
    'fp16': "optim_wrapper=dict(type='AmpOptimWrapper')",
    'seed': 'randomness=dict(seed=...)',
    'workflow': 'train_cfg, val_cfg and test_cfg',
}

NESTED = {
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'),
    'env_cfg.mp_cfg': ('mp_start_method', 'opencv_num_threads', 'omp_num_threads', 'mkl_num_threads'),
    'randomness': ('seed', 'diff_rank_seed', 'deterministic'),
    'optim_wrapper.paramwise_cfg': (
        *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult'),
        *('dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate'),
    ),
    'auto_scale_lr': ('enable', 'base_batch_size'),
    'custom_imports': ('imports', 'allow_failed_imports'),
}
METAINFO = ('classes', 'palette', 'thing_classes', 'stuff_classes')


def closest(name: str, names: Iterable[str], cutoff: float = 0.86) -> str | None:
    """The one of ``names`` that is spelled most like ``name``, if any is."""
    return next(iter(difflib.get_close_matches(str(name), [str(n) for n in names], n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown name."""
    names = list(names)
    close = closest(name, names, cutoff=0.5)
    return f'did you mean {close!r}?' if close else f'there are {", ".join(names)}.'


def unknown_nested(config: MMEngineConfig) -> Iterator[str]:
    """A sentence for each key that its reader passes over in silence, within the settings that have fixed keys."""
    tree = config.to_dict()
    for path, names in NESTED.items():
        if path.startswith('optim_wrapper') and 'constructor' in (tree.get('optim_wrapper') or {}):
            continue  # the constructor reads what it likes
        node = tree
        for part in path.split('.'):
            node = node.get(part) if isinstance(node, dict) else None
        for key in node if isinstance(node, dict) else ():
            if key not in names:
                yield f'nothing reads {path}.{key}; {did_you_mean(key, names)}'
    for path, node in dicts_within({name: tree.get(name) for name in LOADERS}):
        if path.endswith('metainfo'):
            for key in node:
                close = closest(key, METAINFO)
                # other names are the user's own, kept for the user's own code
                if key.lower() not in METAINFO and close:
                    yield f'nothing reads {path}.{key}; did you mean {close!r}?'
