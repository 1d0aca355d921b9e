"""Prediction over millions of pictures: shards of a plan, each predicted once, on the machines of a Ray cluster."""

from .pictures import Picture, list_pictures
from .run import Job, run_job
from .shards import BROKEN, Shards

__all__ = ['BROKEN', 'Job', 'Picture', 'Shards', 'list_pictures', 'run_job']
