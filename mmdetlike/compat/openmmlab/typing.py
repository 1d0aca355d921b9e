"""Names for types that ``mmdet.utils`` has."""

from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, PixelData

ConfigType = ConfigDict | dict
OptConfigType = ConfigType | None
MultiConfig = ConfigType | list[ConfigType]
OptMultiConfig = MultiConfig | None
InstanceList = list[InstanceData]
OptInstanceList = InstanceList | None
PixelList = list[PixelData]
OptPixelList = PixelList | None
