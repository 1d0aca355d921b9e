"""How 2.x trains: ``optimizer``, ``optimizer_config``, ``fp16``, ``lr_config``, ``runner``."""

from dataclasses import dataclass

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
        half = dict(cfg['fp16'])
        scale = half.pop('loss_scale', 512.0)
        report.refuse_rest(half, 'fp16', 'fp16')
        return scale
    scale = settings.pop('loss_scale', 'dynamic' if 'Fp16' in str(name) else None)
    settings.pop('distributed', None)
    return scale


@dataclass(frozen=True)
class Quantity:
    """What a schedule changes.

    Attributes:
        key: Key of 2.x.
        suffix: What schedulers of 3.x for it end with.
        least: What the keys of 2.x for its least value begin with.
    """

    key: str
    suffix: str
    least: str


LEARNING_RATE = Quantity('lr_config', 'LR', 'min_lr')
MOMENTUM = Quantity('momentum_config', 'Momentum', 'min_momentum')


class Schedule:
    """``lr_config`` or ``momentum_config`` as a list of schedulers.

    Args:
        config: As 2.x has it.
        length: Epochs of the training, or its iterations if ``by_iterations``.
        by_iterations: Whether ``length`` and what the config says are in iterations.
        value: The learning rate or the momentum that the optimizer begins with.
        report: Told what can't be translated.
        quantity: Which of the two it is.
    """

    def __init__(
        self,
        config: dict,
        length: int,
        by_iterations: bool,
        value: float,
        report: Report,
        quantity: Quantity = LEARNING_RATE,
    ) -> None:
        self.rest = dict(config)
        self.length = length
        self.value = value
        self.report = report
        self.quantity = quantity
        given = self.rest.pop('by_epoch', None)
        self.by_epoch = not by_iterations if given is None else given
        # cycles count iterations unless they are told otherwise
        self.cycles_by_epoch = bool(given) and not by_iterations
        self.in_epochs = not by_iterations

    def translate(self) -> list[dict]:
        """The schedulers of 3.x, warmup first."""
        policy = str(self.rest.pop('policy', 'fixed'))
        policies = self._rate_policies() if self.quantity is LEARNING_RATE else self._momentum_policies()
        translate = policies.get(policy.lower())
        if translate is None:
            expected = ', '.join(policies)
            self.report.refuse(f'{self.quantity.key}.policy', policy, f'expected one of {expected}, in any case')
            return []
        # cycles and YOLOX bring their own warmup
        alone = policy.lower() in ('cyclic', 'onecycle', 'yolox')
        warmup = self._warmup() if self.quantity is LEARNING_RATE and not alone else []
        schedulers = [*warmup, *translate()]
        self.report.refuse_rest(self.rest, self.quantity.key, f'policy {policy}')
        return schedulers

    def _rate_policies(self) -> dict:
        return {
            'fixed': list,
            'step': self._step,
            'cosineannealing': self._cosine,
            'flatcosineannealing': self._flat_cosine,
            'cosinerestart': self._cosine_restart,
            'linearannealing': self._linear,
            'poly': self._poly,
            'exp': self._exponential,
            'cyclic': self._cyclic,
            'onecycle': self._one_cycle,
            'yolox': self._yolox,
        }

    def _momentum_policies(self) -> dict:
        return {
            'step': self._step,
            'cosineannealing': self._cosine,
            'linearannealing': self._linear,
            'cyclic': self._cyclic,
            'onecycle': self._one_cycle_of_momentum,
        }

    def _scheduler(self, kind: str, **arguments) -> dict:
        return dict(type=f'{kind}{self.quantity.suffix}', **arguments)

    def _span(self, **arguments) -> dict:
        """Arguments of a scheduler that covers the whole training."""
        if self.by_epoch == self.in_epochs:
            return dict(begin=0, end=self.length, by_epoch=self.by_epoch, **arguments)
        # the end of a training by epochs isn't known in iterations
        return dict(begin=0, by_epoch=self.by_epoch, **arguments)

    def _cycle_span(self, **arguments) -> dict:
        """Arguments of a scheduler of cycles, which moves with every iteration."""
        each = dict(convert_to_iter_based=True) if self.in_epochs and not self.cycles_by_epoch else {}
        return dict(begin=0, end=self.length, by_epoch=self.in_epochs, **each, **arguments)

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
        gamma = self.rest.pop('gamma', 0.1 if self.quantity is LEARNING_RATE else 0.5)
        if self.rest.get(self.quantity.least) is None:
            self.rest.pop(self.quantity.least, None)
        if is_sequence(step):
            return [self._scheduler('MultiStep', **self._span(milestones=step, gamma=gamma))]
        return [self._scheduler('Step', **self._span(step_size=step, gamma=gamma))]

    def _cosine(self) -> list[dict]:
        return [self._scheduler('CosineAnnealing', **self._span(T_max=self.length, eta_min=self._least()))]

    def _flat_cosine(self) -> list[dict]:
        start = int(self.rest.pop('start_percent', 0.75) * self.length)
        falling = dict(T_max=self.length - start, eta_min=self._least())
        return [self._scheduler('CosineAnnealing', **{**self._span(), 'begin': start, **falling})]

    def _cosine_restart(self) -> list[dict]:
        periods = self.rest.pop('periods')
        weights = self.rest.pop('restart_weights', [1])
        arguments = dict(periods=periods, restart_weights=weights, eta_min=self._least())
        return [self._scheduler('CosineRestart', **self._span(**arguments))]

    def _linear(self) -> list[dict]:
        factor = self._least() / self.value if self.value else 0.0
        return [self._scheduler('Linear', **self._span(start_factor=1.0, end_factor=factor))]

    def _poly(self) -> list[dict]:
        return [self._scheduler('Poly', **self._span(power=self.rest.pop('power', 1.0), eta_min=self._least()))]

    def _exponential(self) -> list[dict]:
        return [self._scheduler('Exponential', **self._span(gamma=self.rest.pop('gamma')))]

    def _cyclic(self) -> list[dict]:
        """Up to one factor of the initial value and down to another, so many times."""
        usual = (10, 1e-4) if self.quantity is LEARNING_RATE else (0.85 / 0.95, 1)
        target = self.rest.pop('target_ratio', usual)
        peak, end = target if is_sequence(target) else (target, target / 1e5)
        times = self.rest.pop('cyclic_times', 1)
        cycle = self.length / times if self.in_epochs else self.length // times
        up = self.rest.pop('step_ratio_up', 0.4) * cycle
        anneal = self.rest.pop('anneal_strategy', 'cos')
        gamma = self.rest.pop('gamma', 1)
        phases = []
        for i in range(times):
            # later cycles swing less far from the initial value
            top = 1 + gamma**i * (peak - 1)
            phases.append(dict(length=up, start=1.0, stop=top, anneal=anneal))
            phases.append(dict(length=cycle - up, start=top, stop=end, anneal=anneal))
        return [self._scheduler('Phased', **self._cycle_span(phases=phases))]

    def _one_cycle(self) -> list[dict]:
        total = self.rest.pop('total_steps', None)
        if total is not None and self.in_epochs:
            self.report.refuse('lr_config.total_steps', total, 'expected none in a training by epochs')
            return []
        keys = ('pct_start', 'anneal_strategy', 'div_factor', 'final_div_factor', 'three_phase')
        kept = {key: self.rest.pop(key) for key in keys if key in self.rest}
        arguments = dict(eta_max=self.rest.pop('max_lr'), total_steps=total or self.length, **kept)
        return [self._scheduler('OneCycle', **self._cycle_span(**arguments))]

    def _one_cycle_of_momentum(self) -> list[dict]:
        """Down from the largest value while the learning rate rises, then up again."""
        if self.rest.pop('three_phase', False):
            self.report.refuse('momentum_config.three_phase', True, 'expected False')
            return []
        least = self.rest.pop('base_momentum', 0.85) / self.value
        most = self.rest.pop('max_momentum', 0.95) / self.value
        up = self.rest.pop('pct_start', 0.3) * self.length
        anneal = self.rest.pop('anneal_strategy', 'cos')
        phases = [
            dict(length=up, start=most, stop=least, anneal=anneal),
            dict(length=self.length - up, start=least, stop=most, anneal=anneal),
        ]
        return [self._scheduler('Phased', **self._cycle_span(phases=phases))]

    def _least(self) -> float:
        ratio = self.rest.pop(f'{self.quantity.least}_ratio', None)
        least = self.rest.pop(self.quantity.least, None)
        return ratio * self.value if ratio is not None else least or 0.0

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
