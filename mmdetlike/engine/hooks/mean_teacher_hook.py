"""The mean teacher: a moving average of the student."""

import torch
from mmengine.hooks import Hook
from torch import nn

from mmdetlike.engine.hooks.checks import unwrapped
from mmdetlike.errors import ConfigError
from mmdetlike.registry import HOOKS


@HOOKS.register_module()
class MeanTeacherHook(Hook):
    """After an iteration, move the teacher's parameters a little toward the student's: arXiv 1703.01780.

    teacher = (1 - momentum) * teacher + momentum * student. A training starts with the teacher equal to the student, a
    resumed one with the teacher of its checkpoint.

    Args:
        momentum: The student's weight.
        interval: Iterations from one update to the next.
        skip_buffer: Leave buffers, such as the statistics of batch norms, as they were at the start; else they are
            averaged too, and counters are the student's.

    Raises:
        ConfigError: ``momentum`` isn't between 0 and 1, or ``interval`` is below 1.
    """

    def __init__(self, momentum: float = 0.001, interval: int = 1, skip_buffer: bool = True) -> None:
        if not 0 < momentum < 1:
            raise ConfigError(f'momentum must lie between 0 and 1, the weight of the student, got {momentum}')
        if interval < 1:
            raise ConfigError(f'interval must be 1 at least, got {interval}')
        self.momentum = momentum
        self.interval = interval
        self.skip_buffer = skip_buffer

    def before_train(self, runner) -> None:
        """Let the teacher begin as the student.

        Raises:
            ConfigError: The model isn't a pair of them.
        """
        student, teacher = pair_of(runner.model)
        if runner.iter == 0:
            teacher.load_state_dict(student.state_dict())

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Update the teacher."""
        if self.every_n_train_iters(runner, self.interval):
            self.update(*pair_of(runner.model))

    @torch.no_grad()
    def update(self, student: nn.Module, teacher: nn.Module) -> None:
        """Move the teacher toward the student."""
        sources = dict(student.named_parameters() if self.skip_buffer else student.state_dict(keep_vars=True))
        targets = dict(teacher.named_parameters() if self.skip_buffer else teacher.state_dict(keep_vars=True))
        for name, target in targets.items():
            if target.is_floating_point():
                target.lerp_(sources[name], self.momentum)
            else:
                target.copy_(sources[name])  # counters of batches, which have no average


def pair_of(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The student and the teacher of a model.

    Raises:
        ConfigError: It has none.
    """
    model = unwrapped(model)
    if not (hasattr(model, 'student') and hasattr(model, 'teacher')):
        raise ConfigError(f'a student and a teacher are needed, as SoftTeacher has them; got {type(model).__name__}')
    return model.student, model.teacher
