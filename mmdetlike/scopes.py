"""The scopes by which configs name our types and our configs."""

SCOPE = 'mmdetlike'
# of the toolboxes whose configs run here unchanged
ALIASES = ('mmdet', 'mmcv', 'mmrotate')
