"""What surrounds a training in 2.x: hooks, logs, processes, where to begin."""

from .report import Report

# writers of logs, by the hook that did their work
BACKENDS = {
    'TensorboardLoggerHook': 'TensorboardVisBackend',
    'WandbLoggerHook': 'WandbVisBackend',
    'MMDetWandbHook': 'WandbVisBackend',
    'MlflowLoggerHook': 'MLflowVisBackend',
    'NeptuneLoggerHook': 'NeptuneVisBackend',
    'ClearMLLoggerHook': 'ClearMLVisBackend',
    'DvcliveLoggerHook': 'DVCLiveVisBackend',
}
EMA_KINDS = {'ExpMomentumEMAHook': 'ExpMomentumEMA', 'LinearMomentumEMAHook': 'LinearMomentumEMA', 'EMAHook': None}
CHECKPOINT_ARGUMENTS = (
    *('interval', 'by_epoch', 'save_optimizer', 'max_keep_ckpts', 'save_last', 'out_dir', 'file_client_args'),
    *('save_begin', 'filename_tmpl'),
)


def translate_hooks(cfg: dict, by_iterations: bool, saving: dict, report: Report) -> dict:
    """``default_hooks``, ``visualizer`` and ``log_processor`` from ``checkpoint_config`` and ``log_config``."""
    logs = dict(cfg.get('log_config') or {})
    backends, counts_epochs = _writers(logs.pop('hooks', None) or [], not by_iterations, report)
    interval = logs.pop('interval', 10)
    report.refuse_rest(logs, 'log_config', 'log_config')
    hooks = dict(
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=interval),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(type='CheckpointHook', **_checkpoint(cfg, by_iterations, report), **saving),
        sampler_seed=dict(type='DistSamplerSeedHook'),
        visualization=dict(type='DetVisualizationHook'),
    )
    visualizer = dict(
        type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend'), *backends], name='visualizer'
    )
    processor = dict(type='LogProcessor', window_size=interval, by_epoch=counts_epochs)
    return dict(default_hooks=hooks, visualizer=visualizer, log_processor=processor)


def _checkpoint(cfg: dict, by_iterations: bool, report: Report) -> dict:
    """Arguments of the ``CheckpointHook``; -1 saves none on the way, as no ``checkpoint_config`` did."""
    given = cfg.get('checkpoint_config')
    if given is None:
        return dict(interval=-1)
    given = dict(given)
    kept = {key: given.pop(key) for key in CHECKPOINT_ARGUMENTS if key in given}
    for idle in ('create_symlink', 'sync_buffer', 'meta', 'type'):
        given.pop(idle, None)
    report.refuse_rest(given, 'checkpoint_config', 'checkpoint_config')
    if by_iterations:
        kept.setdefault('by_epoch', False)
    return {'interval': -1, **kept}


def _writers(hooks: list, counts_epochs: bool, report: Report) -> tuple[list[dict], bool]:
    """What writes logs beside the text, and whether the text counts epochs."""
    backends = []
    for i, hook in enumerate(hooks):
        arguments = dict(hook)
        name = str(arguments.pop('type')).rpartition('.')[2]
        path = f'log_config.hooks[{i}]'
        counts_epochs = arguments.pop('by_epoch', counts_epochs)
        for idle in ('interval', 'ignore_last', 'reset_flag', 'priority', 'log_checkpoint', 'log_checkpoint_metadata'):
            arguments.pop(idle, None)
        if name in ('TextLoggerHook', 'PaviLoggerHook'):
            continue
        if name not in BACKENDS:
            report.refuse(f'{path}.type', name, f'expected one of TextLoggerHook, {", ".join(BACKENDS)}')
            continue
        kept = {key: arguments.pop(key) for key in ('init_kwargs', 'commit') if key in arguments}
        backends.append(dict(type=BACKENDS[name], **kept))
        for key in arguments:
            report.note(f'{path}.{key}', f'{BACKENDS[name]} has no such argument')
    return backends, counts_epochs


def translate_custom_hooks(hooks: list, report: Report) -> list[dict]:
    """``custom_hooks`` in 3.x's words; hooks of the user's stay as they are."""
    return [_custom_hook(dict(hook), f'custom_hooks[{i}]', report) for i, hook in enumerate(hooks)]


def _custom_hook(hook: dict, path: str, report: Report) -> dict:
    name = str(hook.get('type')).rpartition('.')[2]
    if name == 'SyncNormHook':
        for key in ('num_last_epochs', 'interval'):
            if hook.pop(key, None) is not None:
                report.note(f'{path}.{key}', 'statistics are averaged before each validation now')
    if name in EMA_KINDS:
        return _ema(hook, name, path, report)
    if name == 'SyncRandomSizeHook':
        report.refuse(f'{path}.type', name, 'write model.data_preprocessor.batch_augments=[BatchSyncRandomResize]')
    return hook


def _ema(hook: dict, name: str, path: str, report: Report) -> dict:
    hook = {key: value for key, value in hook.items() if key != 'type'}
    source = hook.pop('resume_from', None)
    if source is not None:
        report.note(f'{path}.resume_from', 'the averages are resumed from the checkpoint of the run')
    translated = dict(type='EMAHook')
    if EMA_KINDS[name] is not None:
        translated['ema_type'] = EMA_KINDS[name]
    if 'total_iter' in hook:
        translated['gamma'] = hook.pop('total_iter')
    if hook.pop('warm_up', None) is not None:
        report.note(f'{path}.warm_up', "averages don't warm up now; ema_type='ExpMomentumEMA' does the like")
    translated['update_buffers'] = not hook.pop('skip_buffers', False)
    return {**translated, **hook}


def translate_environment(cfg: dict, report: Report) -> dict:
    """``env_cfg``, ``randomness``, ``load_from`` and ``resume``."""
    processes = {key: cfg[key] for key in ('mp_start_method', 'opencv_num_threads') if cfg.get(key) is not None}
    environment = dict(
        cudnn_benchmark=cfg.get('cudnn_benchmark') or False,
        mp_cfg=processes or dict(mp_start_method='fork', opencv_num_threads=0),
        dist_cfg=cfg.get('dist_params') or dict(backend='nccl'),
    )
    translated = dict(env_cfg=environment, log_level=cfg.get('log_level') or 'INFO')
    random = {key: cfg[key] for key in ('seed', 'deterministic') if cfg.get(key) is not None}
    if random:
        translated['randomness'] = random
    resumed = cfg.get('resume_from')
    translated['load_from'] = resumed if resumed is not None else cfg.get('load_from')
    translated['resume'] = bool(resumed is not None or cfg.get('auto_resume'))
    _tell_idle(cfg, report)
    return translated


def _tell_idle(cfg: dict, report: Report) -> None:
    flows = [str(flow[0]) for flow in cfg.get('workflow') or []]
    if flows not in ([], ['train']):
        report.note('workflow', f'{cfg["workflow"]}: losses of validation images are not computed now')
    for key in ('device', 'gpu_ids', 'gpus'):
        if cfg.get(key) is not None:
            report.note(key, f'{cfg[key]!r}: CUDA_VISIBLE_DEVICES says which GPUs to use')
