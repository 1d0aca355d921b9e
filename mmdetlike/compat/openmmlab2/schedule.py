"""How 2.x trains: ``optimizer``, ``optimizer_config``, ``fp16``, ``lr_config``, ``runner``."""

from .report import Report, is_sequence

WARMUPS = {'constant': ('ConstantLR', 'factor'), 'linear': ('LinearLR', 'start_factor')}
RUNNERS = {
    'EpochBasedRunner': ('EpochBasedTrainLoop', 'max_epochs'),
    'IterBasedRunner': ('IterBasedTrainLoop', 'max_iters'),
}


def translate_runner(cfg: dict, report: Report) -> dict:
    """``train_cfg`` from ``runner``, or from the ``total_epochs`` of early 2.x."""
    runner = dict(cfg.get('runner') or {})
    if not runner and cfg.get('total_epochs') is not None:
        runner = dict(type='EpochBasedRunner', max_epochs=cfg['total_epochs'])
    if not runner:
        return {}
    name = str(runner.pop('type', 'EpochBasedRunner')).rpartition('.')[2]
    if name not in RUNNERS:
        report.refuse('runner.type', name, f'expected {" or ".join(RUNNERS)}')
        return {}
    loop, length = RUNNERS[name]
    translated = {'type': loop, length: runner.pop(length, None)}
    runner.pop('max_epochs' if length == 'max_iters' else 'max_iters', None)
    report.refuse_rest(runner, 'runner', name)
    return translated


def translate_optimizer(cfg: dict, report: Report) -> dict | None:
    """``optim_wrapper`` from ``optimizer``, ``optimizer_config`` and ``fp16``."""
    if cfg.get('optimizer') is None:
        return None
    optimizer = dict(cfg['optimizer'])
    outer = {key: optimizer.pop(key) for key in ('paramwise_cfg', 'constructor') if optimizer.get(key) is not None}
    settings = dict(cfg.get('optimizer_config') or {})
    wrapper = dict(type='OptimWrapper', optimizer=optimizer, **outer)
    clip = settings.pop('grad_clip', None)
    if clip is not None:
        wrapper['clip_grad'] = clip
    scale = _loss_scale(cfg, settings, report)
    if scale is not None:
        wrapper.update(type='AmpOptimWrapper', loss_scale=scale)
    count = settings.pop('cumulative_iters', None)
    if count is not None:
        wrapper['accumulative_counts'] = count
    if settings.pop('detect_anomalous_params', False):
        report.note('optimizer_config.detect_anomalous_params', 'a message names parameters without gradients now')
    report.refuse_rest(settings, 'optimizer_config', 'the hook of the optimizer')
    return wrapper


def _loss_scale(cfg: dict, settings: dict, report: Report):
    """The scale of losses in half precision; None for full precision."""
    name = settings.pop('type', 'OptimizerHook')
    known = (
        'OptimizerHook',
        'Fp16OptimizerHook',
        'GradientCumulativeOptimizerHook',
        'GradientCumulativeFp16OptimizerHook',
    )
    if str(name).rpartition('.')[2] not in known:
        report.refuse('optimizer_config.type', name, f'expected one of {", ".join(known)}')
    if cfg.get('fp16') is not None:
        return dict(cfg['fp16']).get('loss_scale', 512.0)
    scale = settings.pop('loss_scale', 'dynamic' if 'Fp16' in str(name) else None)
    settings.pop('distributed', None)
    return scale


class Schedule:
    """``lr_config`` as a list of schedulers.

    Args:
        lr_config: As 2.x has it.
        length: Epochs of the training, or its iterations if ``by_iterations``.
        by_iterations: Whether ``length`` and what the config says are in iterations.
        lr: The rate that the optimizer begins with.
        report: Told what can't be translated.
    """

    def __init__(self, lr_config: dict, length: int, by_iterations: bool, lr: float, report: Report) -> None:
        self.rest = dict(lr_config)
        self.length = length
        self.lr = lr
        self.report = report
        self.by_epoch = self.rest.pop('by_epoch', not by_iterations)
        self.in_epochs = not by_iterations

    def translate(self) -> list[dict]:
        """The schedulers of 3.x, warmup first."""
        policy = str(self.rest.pop('policy', 'fixed'))
        policies = {
            'step': self._step,
            'Step': self._step,
            'cosineannealing': self._cosine,
            'poly': self._poly,
            'exp': self._exponential,
            'fixed': list,
            'yolox': self._yolox,
        }
        translate = policies.get(policy) or policies.get(policy.lower())
        if translate is None:
            self.report.refuse('lr_config.policy', policy, 'expected step, CosineAnnealing, poly, exp, fixed or YOLOX')
            return []
        if policy == 'YOLOX':
            schedulers = self._yolox()
        else:
            schedulers = [*self._warmup(), *translate()]
        self.report.refuse_rest(self.rest, 'lr_config', f'policy {policy}')
        return schedulers

    def _span(self, **arguments) -> dict:
        """Arguments of a scheduler that covers the whole training."""
        if self.by_epoch == self.in_epochs:
            return dict(begin=0, end=self.length, by_epoch=self.by_epoch, **arguments)
        # the end of a training by epochs isn't known in iterations
        return dict(begin=0, by_epoch=self.by_epoch, **arguments)

    def _warmup(self) -> list[dict]:
        kind = self.rest.pop('warmup', None)
        ratio = self.rest.pop('warmup_ratio', 0.1)
        length = self.rest.pop('warmup_iters', 0)
        by_epoch = self.rest.pop('warmup_by_epoch', False)
        if kind is None or ratio == 1 or length == 0:
            return []
        if kind not in WARMUPS:
            self.report.refuse('lr_config.warmup', kind, 'expected constant or linear')
            return []
        name, argument = WARMUPS[kind]
        converted = dict(convert_to_iter_based=True) if by_epoch else {}
        return [{'type': name, argument: ratio, 'by_epoch': by_epoch, 'begin': 0, 'end': length, **converted}]

    def _step(self) -> list[dict]:
        step = self.rest.pop('step')
        gamma = self.rest.pop('gamma', 0.1)
        if self.rest.get('min_lr') is None:
            self.rest.pop('min_lr', None)
        if is_sequence(step):
            return [dict(type='MultiStepLR', **self._span(milestones=step, gamma=gamma))]
        return [dict(type='StepLR', **self._span(step_size=step, gamma=gamma))]

    def _cosine(self) -> list[dict]:
        return [dict(type='CosineAnnealingLR', **self._span(T_max=self.length, eta_min=self._least()))]

    def _poly(self) -> list[dict]:
        return [dict(type='PolyLR', **self._span(power=self.rest.pop('power', 1.0), eta_min=self._least()))]

    def _exponential(self) -> list[dict]:
        return [dict(type='ExponentialLR', **self._span(gamma=self.rest.pop('gamma')))]

    def _least(self) -> float:
        ratio = self.rest.pop('min_lr_ratio', None)
        least = self.rest.pop('min_lr', None)
        return ratio * self.lr if ratio is not None else least or 0.0

    def _yolox(self) -> list[dict]:
        """A quadratic warmup, a cosine, and the least rate for the last epochs."""
        warmup = self.rest.pop('warmup_iters', 0)
        last = self.length - self.rest.pop('num_last_epochs', 0)
        least = self._least()
        for key in ('warmup', 'warmup_ratio', 'warmup_by_epoch'):
            self.rest.pop(key, None)
        each = dict(by_epoch=True, convert_to_iter_based=True)
        return [
            dict(type='QuadraticWarmupLR', begin=0, end=warmup, **each),
            dict(type='CosineAnnealingLR', eta_min=least, begin=warmup, T_max=last, end=last, **each),
            dict(type='ConstantLR', by_epoch=True, factor=1, begin=last, end=self.length),
        ]
