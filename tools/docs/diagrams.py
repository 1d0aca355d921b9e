"""The diagrams of docs/pipelines.md: data in boxes, and on the arrows between them the methods that transform it."""

from canvas import Canvas, Label, Node
from code_facts import kind_of

# pixels: the two lanes' left edges, the width of the picture and that of a box
LEFT = 40
RIGHT = 450
WIDTH = 860
BOX = 330


def dense(canvas: Canvas) -> None:
    """Dense heads."""
    boxes = canvas.lane(
        LEFT,
        20,
        BOX,
        [
            Node('x', 'feature maps (B, C, H_i, W_i)'),
            [
                Label('DenseHead.forward', 'all levels'),
                Label('DenseHead.forward_level', "one level, by the head's own layers"),
            ],
            Node('maps', 'one list for each of map_names'),
            [Label('DenseHead.flatten', 'levels in a row, cell by cell, float32')],
            Node('FlatPredictions', 'name: (B, N, channels of a prior)'),
        ],
    )
    priors = canvas.node(RIGHT, boxes[-1].y, BOX, Node('Priors', 'N anchors or points of all levels'))
    middle = boxes[1].y + boxes[1].height / 2
    canvas.arrow((LEFT + BOX, middle), (RIGHT + 20, middle), (RIGHT + 20, priors.y - 2))
    priors_of = [
        Label('DenseHead.priors', 'kept for the sizes seen last'),
        Label('prior_generator', kind='config'),
    ]
    canvas.labels(RIGHT + 34, middle + 6, priors_of)
    canvas.fork(boxes[-1], [(LEFT, 'training', DENSE_TRAINING), (RIGHT, 'testing', DENSE_TESTING)], BOX)


DENSE_TRAINING = [
    [
        Label('DenseHead.compute_losses', 'the hook: assign, then losses'),
        Label('DenseHead.targets', 'one image after the other:'),
        Label('DenseHead.usable_priors', 'those on the image'),
        Label('DenseHead.gt_instances', 'objects as the head sees them'),
        Label('DenseHead.candidates', 'a row for each prior'),
        Label('DenseHead.assignable_predictions', 'if the assigner asks'),
        Label('DenseHead.assign'),
        Label('assigner', kind='config'),
        Label('sampler', kind='config'),
    ],
    Node('DenseTargets', 'labels, weights, positives and their objects'),
    [
        Label('DenseHead.target_losses', 'over flat tensors'),
        Label('DenseHead.losses_by_level', 'where a term is wanted for each level'),
        Label('loss_cls, loss_bbox, ...', kind='config'),
    ],
    Node('losses', 'loss_cls, loss_bbox, ...'),
]
DENSE_TESTING = [
    [
        Label('DenseHead.scores', 'sigmoid or softmax'),
        Label('DenseHead.score_factors', 'e.g. centerness'),
    ],
    Node('scores', '(B, N, C), and factors (B, N) or none'),
    [Label('DenseHead.select', 'the nms_pre best of each level')],
    Node('candidates', 'scores, labels, prior_inds, level_ids'),
    [
        Label('DenseHead.decode', 'only what was selected'),
        Label('bbox_coder', kind='config'),
    ],
    Node('candidates', 'with bboxes'),
    [
        Label('DenseHead.suppress', 'rescale, drop the small ones, NMS'),
        Label('DenseHead.nms_groups', 'classes, or levels'),
        Label('DenseHead.to_result'),
        Label('DenseHead.instance_fields', 'what a mask branch wants to know'),
    ],
    Node('InstanceData', 'bboxes, scores, labels of an image'),
]


def roi(canvas: Canvas) -> None:
    """Region heads."""
    top = canvas.node(LEFT, 20, BOX, Node('x and proposals', 'feature maps; boxes of each image'))
    canvas.labels(RIGHT, 22, [Label('num_stages', '1, or that of a cascade', 'own')])
    canvas.labels(RIGHT, 40, [Label('RoIHead.stage', 'its parts and settings as a Stage')])
    canvas.labels(RIGHT, 58, [Label('RoIHead.image_context', 'what the whole image adds')])
    lanes = [(LEFT, 'training', ROI_TRAINING), (RIGHT, 'testing', ROI_TESTING)]
    training, testing = canvas.fork(top, lanes, BOX)
    canvas.back(training[2], training[0], Label('Stage.next_proposals'))
    canvas.back(testing[1], testing[0], Label('Stage.next_proposals'))


RUN = [
    Label('Stage.run', 'all images at once'),
    Label('RoIHead.box_features'),
    Label('RoIHead.features'),
    Label('bbox_roi_extractor, shared_head', kind='config'),
    Label('bbox_head', kind='config'),
]
ROI_TRAINING = [
    Node('proposals', 'of this stage'),
    [
        Label('Stage.train'),
        Label('Stage.sample', 'one image after the other'),
        Label('assigner', kind='config'),
        Label('sampler', kind='config'),
        Label('Stage.classification_losses', 'if the sampler asks'),
        *RUN,
    ],
    Node('StageOutputs, SamplingResult', 'rois, feats, preds; positives, negatives'),
    [
        Label('BBoxHead.loss'),
        Label('RoIBranch.loss', 'of each branch'),
        Label('MaskBranch.targets', 'e.g. masks'),
        Label('MaskBranch.logits'),
        Label('mask_roi_extractor, mask_head', kind='config'),
        Label('RoIHead.named_terms', 's0., s1., ... of a cascade'),
    ],
    Node('losses', 'loss_cls, loss_bbox, loss_mask, ...'),
]
ROI_TESTING = [
    Node('proposals', 'of this stage'),
    [Label('Stage.test'), *RUN],
    Node('StageOutputs', 'rois, feats, preds'),
    [
        Label('RoIHead.detect_boxes'),
        Label('RegionHead.merge_stages', 'mean logits of all stages'),
        Label('RegionHead.detect', 'decode, NMS'),
    ],
    Node('InstanceData', 'bboxes, scores, labels of an image'),
    [
        Label('RoIBranch.add_predictions', 'of each branch'),
        Label('MaskBranch.probabilities', 'e.g. masks'),
        Label('MaskBranch.logits_of_stages'),
        Label('paste_masks', 'operator'),
        Label('scale_boxes', 'once, after all branches'),
    ],
    Node('InstanceData', 'with masks, keypoints, ...'),
]


def query(canvas: Canvas) -> None:
    """Query heads."""
    boxes = canvas.lane(
        LEFT,
        20,
        BOX,
        [
            Node('images', '(B, 3, H, W)'),
            [Label('DetectionTransformer.extract_feat', 'backbone and neck')],
            Node('maps', 'of the width of the transformer'),
            [
                Label('DetectionTransformer.build_context', 'samples, padding, what else is known'),
                Label('DetectionTransformer.forward_transformer', 'encode, start, decode'),
                Label('encoder, decoder, positional_encoding', kind='config'),
                Label('DetectionTransformer.initial_queries', 'content, positions, references'),
                Label('DeformableDETR.propose', 'with two stages: boxes of every pixel'),
                Label('dn_query_generator', 'DINO: noisy objects as further queries', 'config'),
                Label('TransformerDecoder.query_positions', 'in each decoder layer'),
                Label('TransformerDecoder.attention_inputs', 'the image'),
                Label('TransformerDecoder.next_references', 'where the next layer looks'),
            ],
            Node('QueryOutputs', 'hidden_states and references of all layers'),
        ],
    )
    canvas.fork(boxes[-1], [(LEFT, 'training', QUERY_TRAINING), (RIGHT, 'testing', QUERY_TESTING)], BOX)


QUERY_TRAINING = [
    [
        Label('QueryHead.forward', 'all layers'),
        Label('QueryHead.predict_layer', 'one layer'),
        Label('QueryHead.classify'),
        Label('QueryHead.regress'),
    ],
    Node('cls_score, bbox_pred of each layer', '(B, Q, classes), (B, Q, 4) in [0, 1]'),
    [
        Label('QueryHead.match', 'one query for each object'),
        Label('assigner', 'Hungarian, of match costs', 'config'),
        Label('denoising_targets', 'for queries that know their object'),
    ],
    Node('QueryTargets', 'labels, weights, positives and their objects'),
    [
        Label('QueryHead.losses', 'each layer'),
        Label('QueryHead.class_targets', 'labels, or one value for each logit'),
        Label('QueryHead.class_loss'),
        Label('QueryHead.encoder_losses', 'the same for proposals'),
        Label('loss_cls, loss_bbox, loss_iou', kind='config'),
    ],
    Node('losses', 'loss_cls, d0.loss_cls, enc_loss_cls, ...'),
]
QUERY_TESTING = [
    [
        Label('QueryHead.predict', 'the last layer alone'),
        Label('QueryHead.detect', 'tensors alone'),
        Label('QueryHead.predict_layer'),
        Label('QueryHead.classify'),
        Label('QueryHead.regress'),
    ],
    Node('cls_score, bbox_pred', '(B, Q, classes), (B, Q, 4) in [0, 1]'),
    [
        Label('QueryHead.class_logits', 'classes, of tokens or other logits'),
        Label('QueryHead.select', 'the max_per_img best; no NMS'),
    ],
    Node('InstanceData', 'bboxes, scores, labels of an image'),
]


def masks(canvas: Canvas) -> None:
    """Masks of queries."""
    boxes = canvas.lane(
        LEFT,
        20,
        BOX,
        [
            Node('x', 'maps of the backbone, (B, C_i, H_i, W_i)'),
            [
                Label('MaskFormerHead.forward', 'run both decoders'),
                Label('pixel_decoder', 'mask features, and maps to attend to', 'config'),
                Label('transformer_decoder', 'queries, layer by layer', 'config'),
                Label('MaskFormerHead.predict_masks', 'after each layer: masks = queries x features'),
            ],
            Node('cls_score, masks of each layer', '(B, Q, classes + 1), (B, Q, h, w)'),
        ],
    )
    canvas.fork(boxes[-1], [(LEFT, 'training', MASKS_TRAINING), (RIGHT, 'testing', MASKS_TESTING)], BOX)


MASKS_TRAINING = [
    [
        Label('MaskFormerHead.segments', 'things and stuff of a sample'),
        Label('MaskFormerHead.match', 'one query for each segment'),
        Label('MaskFormerHead.masks_to_match', 'at pixels or at points'),
        Label('assigner', 'Hungarian, of match costs', 'config'),
    ],
    Node('positives', 'queries and the segment of each'),
    [
        Label('MaskFormerHead.losses', 'each layer'),
        Label('MaskFormerHead.mask_losses', 'at pixels or at points'),
        Label('loss_cls, loss_mask, loss_dice', kind='config'),
    ],
    Node('losses', 'loss_cls, d0.loss_cls, ...'),
]
MASKS_TESTING = [
    [Label('MaskFormerHead.predict', 'the last layer, as large as the batch')],
    Node('mask_cls, mask_pred', '(B, Q, classes + 1), (B, Q, H, W)'),
    [
        Label('MaskFormerFusionHead.predict', 'as test_cfg wants:'),
        Label('MaskFormerFusionHead.panoptic'),
        Label('MaskFormerFusionHead.instances'),
        Label('MaskFormerFusionHead.semantic'),
    ],
    Node('DetDataSample', 'pred_panoptic_seg, pred_instances, pred_sem_seg'),
]

# file name -> what draws it, and the class whose methods it shows
DIAGRAMS = {
    'pipeline_dense.svg': (dense, 'DenseHead'),
    'pipeline_roi.svg': (roi, 'RoIHead'),
    'pipeline_query.svg': (query, 'QueryHead'),
    'pipeline_masks.svg': (masks, 'MaskFormerHead'),
}


def draw(file: str) -> str:
    """The SVG of a diagram."""
    function, owner = DIAGRAMS[file]
    canvas = Canvas(WIDTH, owner, kind_of)
    function(canvas)
    return canvas.svg(function.__doc__)
