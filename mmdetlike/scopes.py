"""The scopes by which configs name our types and our configs."""

SCOPE = 'mmdetlike'
# of the toolboxes whose configs run here unchanged
ALIASES = ('mmdet', 'mmcv', 'mmrotate')
# of the toolboxes of classifiers, from which configs of detectors take a backbone; we have those of these names
CLASSIFIERS = ('mmpretrain', 'mmcls')
OF_CLASSIFIERS = ('ConvNeXt', 'TIMMBackbone')
# what configs import for types that are here: packages, and the types
NOT_NEEDED = {
    **dict.fromkeys(CLASSIFIERS, OF_CLASSIFIERS),
    'projects.EfficientDet': ('EfficientDet', 'BiFPN', 'EfficientDetSepBNHead', 'HuberLoss'),
    'projects.ViTDet': ('ViT', 'SimpleFPN', 'Fp16CompresssionHook'),
}
