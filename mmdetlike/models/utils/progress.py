"""Training progress, for losses and assigners that change during training."""

from dataclasses import dataclass

from mmengine.logging import MessageHub

MIXES_IMAGES = 'mixes_images'


@dataclass(frozen=True)
class TrainingProgress:
    """What the runner says of the training; the start of it where there is no runner.

    Attributes:
        epoch: The epoch that runs, counted from 0.
        mixes_images: Whether pictures are still mixed with others (mosaic, mixup), as ``YOLOXModeSwitchHook`` ends it.
        iteration: The iteration that runs, counted from 0.
    """

    epoch: int = 0
    mixes_images: bool = True
    iteration: int = 0

    @classmethod
    def current(cls) -> 'TrainingProgress':
        """The progress of the running training, which mmengine's MessageHub knows."""
        hub = MessageHub.get_current_instance()
        return cls(hub.get_info('epoch', 0), hub.get_info(MIXES_IMAGES, True), hub.get_info('iter', 0))
