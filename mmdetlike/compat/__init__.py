"""Configs and checkpoints of other toolboxes, translated to ours: pure translations, nothing is built or run here."""
