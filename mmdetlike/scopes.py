"""The scopes by which configs name our types and our configs."""

SCOPE = 'mmdetlike'
# of the toolboxes whose configs run here unchanged
ALIASES = ('mmdet', 'mmcv', 'mmrotate')
# of the toolboxes of classifiers, from which configs of detectors take a backbone; we have those of these names
CLASSIFIERS = ('mmpretrain', 'mmcls')
OF_CLASSIFIERS = ('ConvNeXt', 'TIMMBackbone')
