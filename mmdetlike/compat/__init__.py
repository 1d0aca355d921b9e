"""Configs and checkpoints of other toolboxes, and of older ones, made into ours: pure translations."""
