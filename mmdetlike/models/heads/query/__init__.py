from .detr_head import DeformableDETRHead, DETRHead, DINOHead, QueryHead, QueryOutputs, QueryTargets
