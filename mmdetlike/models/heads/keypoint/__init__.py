from .centernet_head import CenterNetHead
