from .det_tta import DetTTAModel, plain_version
