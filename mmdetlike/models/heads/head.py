"""The base of all heads, of whatever pipeline: number of classes, settings, assigner."""

from mmengine.config import ConfigDict
from mmengine.model import BaseModule

from mmdetlike.errors import ConfigError
from mmdetlike.models.task_modules.assigners import BaseAssigner
from mmdetlike.registry import TASK_UTILS


class Head(BaseModule):
    """Base of the heads: the number of classes, the settings of training and testing, and the assigner they name.

    Args:
        num_classes: Classes without background; None for a head that predicts none.
        train_cfg: Settings of training, among them ``assigner``.
        test_cfg: Settings of testing.
        init_cfg: Weight initialization; ``default_init`` where None.

    Raises:
        ValueError: ``num_classes`` is below 1.
        ConfigError: ``test_cfg`` asks for the scores of all classes, and there are none.

    Attributes:
        default_init: Weight initialization where the config has none.
        predicts_dataset_classes: Whether the classes are the dataset's; False where objects are told from background,
            or where pixels are classified. Checks and the API look at it on whatever module has ``num_classes``.
        gives_all_scores: Whether ``test_cfg.return_all_scores`` is obeyed; False where an object has one score.
    """

    default_init: dict | list[dict] | None = None
    predicts_dataset_classes = True
    gives_all_scores = True

    def __init__(
        self,
        num_classes: int | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or self.default_init)
        if num_classes is not None:
            check_num_classes(num_classes)
        self.num_classes = num_classes
        self.train_cfg = ConfigDict(train_cfg or {})
        self.test_cfg = ConfigDict(test_cfg or {})
        if self.test_cfg.get('return_all_scores', False) and not self.gives_all_scores:
            raise ConfigError(
                f'{type(self).__name__} gives each object the score of its own class alone: leave '
                f'test_cfg.return_all_scores out.'
            )
        # a head that only tests has no settings of training, and none of them is needed then
        if 'assigner' in self.train_cfg:
            self.assigner = self.build_assigner(self.train_cfg.assigner)

    def build_assigner(self, cfg: dict) -> BaseAssigner:
        """The assigner that ``train_cfg.assigner`` names."""
        return TASK_UTILS.build(cfg)


def check_num_classes(num_classes: int) -> None:
    """Raise ``ValueError`` unless there is a class at least."""
    if num_classes < 1:
        raise ValueError(f'num_classes must be at least 1, got {num_classes}')
