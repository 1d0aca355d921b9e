"""Seesaw loss (Seesaw Loss for Long-Tailed Instance Segmentation, arXiv 2008.10032)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdetlike.registry import MODELS

from .accuracy import accuracy
from .reduction import Loss
from .vast_classes import OwnChannels


@MODELS.register_module()
class SeesawLoss(OwnChannels, Loss):
    """Seesaw loss of region classes (arXiv 2008.10032).

    The classifier has two more channels than classes, for object and background. The buffer ``cum_samples``
    (num_classes + 1,) counts the samples of each class over the training.

    Args:
        use_sigmoid: Must be False, else a ``ValueError``: classes are no independent binary decisions.
        p: Exponent of mitigation, 0 for none.
        q: Exponent of compensation, 0 for none.
        num_classes: Classes without background.
        eps: Least probability of the own class that compensation divides by.
        reduction, loss_weight: As of ``Loss``.
        return_dict: Whether both terms are returned by name instead of their sum.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        p: float = 0.8,
        q: float = 2.0,
        num_classes: int = 1203,
        eps: float = 1e-2,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        return_dict: bool = True,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if use_sigmoid:
            raise ValueError('SeesawLoss is defined for softmax only: use_sigmoid must be False.')
        self.use_sigmoid, self.p, self.q, self.num_classes, self.eps = use_sigmoid, p, q, num_classes, eps
        self.return_dict = return_dict
        self.register_buffer('cum_samples', torch.zeros(num_classes + 1, dtype=torch.float))

    def get_cls_channels(self, num_classes: int) -> int:
        """Channels that the classifier needs: one a class, one for object and one for background."""
        self.check_num_classes(num_classes)
        return num_classes + 2

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Probabilities (n, num_classes + 1), background last, of logits (n, num_classes + 2)."""
        classes, objectness = self._split(cls_score)
        is_object, is_background = objectness.softmax(-1).split(1, dim=-1)
        return torch.cat([classes.softmax(-1) * is_object, is_background], dim=-1)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Percentage of regions that are told from background, and of objects whose class is right."""
        classes, objectness = self._split(cls_score)
        is_object = labels < self.num_classes
        return dict(
            acc_objectness=accuracy(objectness, (~is_object).long()),
            acc_classes=accuracy(classes[is_object], labels[is_object]),
        )

    def forward(
        self,
        cls_score: Tensor,
        labels: Tensor,
        label_weights: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor | dict[str, Tensor]:
        """Return the terms ``loss_cls_objectness`` and ``loss_cls_classes``, or their sum.

        Args:
            cls_score: Logits (n, num_classes + 2): of the classes, of object and of background.
            labels, label_weights: (n,); a label of num_classes means background.
            avg_factor, reduction_override: As of ``Loss.forward``.
        """
        classes, objectness = self._split(cls_score)
        # before the loss, so that no class of this batch has been seen 0 times
        self.cum_samples += torch.bincount(labels, minlength=self.num_classes + 1).to(self.cum_samples.dtype)
        weights = cls_score.new_ones(len(labels)) if label_weights is None else label_weights.float()
        chosen = labels < self.num_classes
        of_object = F.cross_entropy(objectness, (~chosen).long(), reduction='none')
        of_object = self.reduce(of_object, weights, avg_factor, reduction_override)
        of_class = self.class_loss(classes[chosen], labels[chosen])
        of_class = self.reduce(of_class, weights[chosen], avg_factor, reduction_override)
        if self.return_dict:
            return dict(loss_cls_objectness=of_object, loss_cls_classes=of_class)
        # without reduction both have a value a region, of_class only those of objects
        return of_object.sum() + of_class.sum()

    def class_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy (n,) of logits (n, num_classes), whose exponentials of the other classes are weighted.

        Mitigation weakens what a sample of a frequent class does to a rare one, by the ratio of their samples to the
        power ``p``; compensation strengthens it where the rare class was predicted by mistake, by the ratio of the
        probabilities to the power ``q``.
        """
        samples = self.cum_samples[:-1].clamp(min=1).to(logits.dtype)
        # weights are constants to the gradient
        scores = logits.detach().softmax(dim=1)
        own = scores.gather(1, labels[:, None]).clamp(min=self.eps)
        mitigation = (samples[None] / samples[labels][:, None]).clamp(max=1).pow(self.p)
        compensation = (scores / own).clamp(min=1).pow(self.q)
        # a factor of an exponential is a logarithm added to its logit; of the own class both factors are 1
        return F.cross_entropy(logits + (mitigation * compensation).log(), labels, reduction='none')

    def _split(self, cls_score: Tensor) -> tuple[Tensor, Tensor]:
        self.check_num_classes(cls_score.shape[-1] - 2)
        return cls_score[..., :-2], cls_score[..., -2:]
