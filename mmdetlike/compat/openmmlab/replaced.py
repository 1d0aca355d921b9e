"""What takes the place of names of ``mmcv`` and ``mmdet`` that mmdetlike has no counterpart of, a sentence each."""

_RUN = 'mmdetlike.engine.launch(cfg, "train") or `mmdetlike train CONFIG` trains by a config'
_EVALUATION = 'val_dataloader, val_evaluator and train_cfg.val_interval of a config evaluate during a training'
_TESTING = '`mmdetlike test CONFIG CHECKPOINT` tests; in Python, model.test_step(batch) gives a DetDataSample a picture'
_OPTIMIZER = 'optim_wrapper of a config: OptimWrapper or AmpOptimWrapper, with clip_grad and accumulative_counts'
_SCHEDULE = 'param_scheduler of a config: LinearLR, MultiStepLR, CosineAnnealingLR, ...'
_LOGGING = 'default_hooks.logger and visualizer.vis_backends of a config log'
_HALF = 'AmpOptimWrapper trains, and init_detector(..., optimize="fp16") predicts in half precision'
_LOADER = 'Runner.build_dataloader(dict(batch_size=..., sampler=..., dataset=...)) of mmengine.runner makes one'
_SAMPLER = 'DefaultSampler with the batch_sampler AspectRatioBatchSampler takes its place, on one GPU or several'
_PACKING = 'PackDetInputs takes its place, and model.data_preprocessor normalizes and pads'
_DRAWING = 'DetLocalVisualizer().add_datasample(...), or DetInferencer, draws'
_MERGING = 'DetTTAModel merges what was found in several versions of a picture'
_TRANSLATED = 'configs of 2.x are translated when mmdetlike.utils.config.load_config reads them'
_ROWS = 'predictions are a DetDataSample here: pred_instances.bboxes, .scores, .labels, .masks'

# name -> what takes its place, in whichever module it is looked for
REPLACED: dict[str, str] = {
    **dict.fromkeys(
        ('BaseRunner', 'EpochBasedRunner', 'IterBasedRunner', 'RUNNERS', 'build_runner', 'train_detector'), _RUN
    ),
    **dict.fromkeys(('DistEvalHook', 'EvalHook'), _EVALUATION),
    **dict.fromkeys(('collect_results_cpu', 'collect_results_gpu', 'multi_gpu_test', 'single_gpu_test'), _TESTING),
    **dict.fromkeys(
        (
            *('DistOptimizerHook', 'Fp16OptimizerHook', 'GradientCumulativeFp16OptimizerHook'),
            *('GradientCumulativeOptimizerHook', 'OptimizerHook', 'build_optimizer_constructor'),
        ),
        _OPTIMIZER,
    ),
    **dict.fromkeys(
        (
            *('CosineAnnealingLrUpdaterHook', 'LrUpdaterHook', 'MomentumUpdaterHook', 'PolyLrUpdaterHook'),
            'StepLrUpdaterHook',
        ),
        _SCHEDULE,
    ),
    **dict.fromkeys(
        ('LogBuffer', 'MlflowLoggerHook', 'TensorboardLoggerHook', 'TextLoggerHook', 'WandbLoggerHook'), _LOGGING
    ),
    **dict.fromkeys(('LossScaler', 'patch_norm_fp32', 'wrap_fp16_model'), _HALF),
    'build_dataloader': _LOADER,
    **dict.fromkeys(('DistributedGroupSampler', 'DistributedSampler', 'GroupSampler'), _SAMPLER),
    **dict.fromkeys(('Collect', 'DefaultFormatBundle', 'MultiScaleFlipAug', 'replace_ImageToTensor'), _PACKING),
    **dict.fromkeys(
        ('imshow', 'imshow_bboxes', 'imshow_det_bboxes', 'imshow_gt_det_bboxes', 'show_result_pyplot'), _DRAWING
    ),
    **dict.fromkeys(('merge_aug_bboxes', 'merge_aug_masks', 'merge_aug_proposals', 'merge_aug_results'), _MERGING),
    **dict.fromkeys(('compat_cfg', 'replace_cfg_vals', 'setup_multi_processes', 'update_data_root'), _TRANSLATED),
    **dict.fromkeys(('bbox2result', 'encode_mask_results', 'results2json'), _ROWS),
    'async_inference_detector': 'DetInferencer reads ahead of the network, and `mmdetlike serve` answers requests',
    **dict.fromkeys(
        ('build_ddp', 'build_dp'), 'MMDistributedDataParallel of mmcv.parallel, or a Runner with a launcher, wraps'
    ),
    **dict.fromkeys(('VideoReader', 'frames2video'), 'DetInferencer and `mmdetlike predict` take and write videos'),
    'AvoidCUDAOOM': 'mmdetlike.utils.memory.retry_if_cuda_oom does it',
    'use_backend': 'imdecode_backend of LoadImageFromFile chooses what decodes pictures',
}
