"""What can be wrong with data on disk, as exceptions that say which file, and the counted warnings for what is skipped."""


class DataError(ValueError):
    """A dataset that cannot be read: the message names the file and what was expected of it."""


class ImageError(ValueError):
    """An image that is missing, truncated or not an image.

    Args:
        path: The file.
        reason: What is wrong with it, as the end of a sentence.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f'{path}: {reason}')
        self.path = path
        self.reason = reason

    def __reduce__(self):
        return type(self), (self.path, self.reason)  # crosses from a worker process to the main one
