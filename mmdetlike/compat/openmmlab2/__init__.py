"""Configs of OpenMMLab's detection toolbox 2.x, translated to those of 3.x, which are ours."""

from .config import Translation, translate, translate_config

__all__ = ['Translation', 'translate', 'translate_config']
