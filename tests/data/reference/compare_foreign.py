"""Hold our reading of Detectron2's and torchvision's configs and checkpoints against what they compute.

    python compare_foreign.py foreign/d2__*.json.gz foreign/tv__*.json.gz [--quiet]

A recording holds the foreign config (``cfg``, Detectron2's YAML resolved; or torchvision's function name and
``arguments``) and the names and shapes of its state dict. This script asks for

    mmdetlike.compat.detectron2.model_config(cfg) -> our ``model`` dict
    mmdetlike.compat.torchvision.model_config(name, **arguments) -> our ``model`` dict
    mmdetlike.compat.{detectron2,torchvision}.convert_state_dict(state, model) -> state dict, loads with strict=True

fills the foreign state dict with ``fill_state.state``, converts and loads it, and compares the normalised input, the
maps of the pyramid, predictions, the sum of all losses and the norm of all gradients.
"""
import argparse
import gzip
import importlib
import json
import sys
import warnings

import numpy as np
import torch

import compare
import fill
import fill_state

warnings.filterwarnings('ignore')
# losses whose averages the toolboxes define otherwise (dense heads, Detectron2's RPN) are left out: `skip`
RTOL = 2e-3
# torchvision's region heads were recorded with every sample kept, of which the recorded arguments say nothing
EVERY_SAMPLE = dict(rpn_batch_size_per_image=10**6, box_batch_size_per_image=10**6)


def our_model(rec):
    utils = importlib.import_module('mmdetlike.utils')
    if hasattr(utils, 'register_all_modules'):
        utils.register_all_modules()
    registry = importlib.import_module('mmdetlike.registry')
    compat = importlib.import_module(f'mmdetlike.compat.{rec["source"]}')
    if rec['source'] == 'detectron2':
        config = compat.model_config(rec['cfg'])
    else:
        every_sample = EVERY_SAMPLE if 'rcnn' in rec['config'] else {}
        config = compat.model_config(rec['config'], **rec['arguments'], **every_sample)
    model = registry.MODELS.build(config)
    foreign = fill_state.state(rec['state'])
    model.load_state_dict(compat.convert_state_dict(foreign, model), strict=True)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model


def num_classes(rec):
    if rec['source'] == 'torchvision':
        return 1 if 'keypoint' in rec['config'] else 90
    cfg = rec['cfg']['MODEL']
    return cfg['RETINANET']['NUM_CLASSES'] if cfg['META_ARCHITECTURE'] == 'RetinaNet' else cfg['ROI_HEADS']['NUM_CLASSES']


def samples(rec):
    from mmengine.structures import InstanceData, PixelData

    structures = importlib.import_module('mmdetlike.structures')
    out, (h, w) = [], rec['image_size']
    with_points = 'keypoint' in rec['config']
    for i in range(2):
        boxes, labels, bitmaps = fill.instances(i, num_classes(rec), height=h, width=w)
        sample = structures.DetDataSample(metainfo=dict(
            img_id=i, img_path='x.jpg', img_shape=(h, w), ori_shape=(h, w), pad_shape=(h, w),
            batch_input_shape=(h, w), scale_factor=(1.0, 1.0), flip=False, flip_direction=None))
        if rec.get('rotated'):
            ops = importlib.import_module('mmdetlike_ops')
            centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            degrees = torch.tensor([[10.0], [-35.0], [80.0], [0.0]])
            boxes = ops.rotated_boxes_from_detectron2(torch.cat([centre, size, degrees], dim=1))
        sample.gt_instances = InstanceData(bboxes=boxes, labels=labels)
        if not rec.get('rotated'):
            sample.gt_instances.masks = structures.BitmapMasks(list(bitmaps.numpy()), h, w)
        if with_points:
            sample.gt_instances.keypoints = torch.from_numpy(fill_state.keypoints(i, boxes.numpy()))
        sample.ignored_instances = InstanceData(bboxes=boxes[:0], labels=labels[:0])
        if rec['source'] == 'detectron2':
            # Detectron2's labels: 0 stands for all things where they share the map, stuff after that
            seg = fill_state.semantic(i, rec['cfg']['MODEL']['SEM_SEG_HEAD']['NUM_CLASSES'], h, w)
            sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(seg).long()[None])
            compat = importlib.import_module('mmdetlike.compat.detectron2')
            if hasattr(compat, 'semantic_labels'):  # theirs -> ours, where a panoptic model numbers them otherwise
                sample.gt_sem_seg = PixelData(sem_seg=compat.semantic_labels(sample.gt_sem_seg.sem_seg, rec['cfg']))
        sample.proposals = InstanceData(bboxes=boxes.clone(), scores=torch.ones(len(boxes)))
        out.append(sample)
    return out


def predictions(rec, found):
    for i, (sample, want) in enumerate(zip(found, rec['predict'])):
        p = sample.pred_instances if 'pred_instances' in sample else None
        if 'scores' in want:
            if abs(len(p) - want['n']) > max(1, 0.02 * want['n']):
                return False, f'image {i}: {len(p)} instances, expected {want["n"]}'
            n = len(want['scores'])
            scores = torch.tensor(want['scores'])
            if 'labels' not in want and rec['source'] == 'detectron2':  # a proposal network's are logits
                scores = scores.sigmoid()
            ok, why = compare.close(p.scores[:n].float(), scores)
            if not ok:
                return False, f'image {i}: scores {why}'
            boxes = torch.as_tensor(want['bboxes']).reshape(-1, 5 if rec.get('rotated') else 4)
            if rec.get('rotated'):
                boxes = importlib.import_module('mmdetlike_ops').rotated_boxes_from_detectron2(boxes)
            ours = getattr(p.bboxes, 'tensor', p.bboxes)[: 2 * n].float()
            near = (ours[None, :, :4] - boxes[:, None, :4]).abs().amax(-1) < 0.5
            if rec.get('rotated'):
                turn = (ours[None, :, 4] - boxes[:, None, 4]) / np.pi
                near &= (turn - turn.round()).abs() < 2e-3
            if 'labels' in want:
                labels = torch.tensor(want['labels']) - int(rec['source'] == 'torchvision')
                near &= p.labels[None, : 2 * n] == labels[:, None]
            missing = int((~near.any(1)).sum())
            if missing > max(1, n // 5):
                return False, f'image {i}: {missing} of {n} recorded boxes have no twin'
        if want.get('mask_areas'):
            areas = [int(m.sum()) for m in p.masks[: len(want['mask_areas'])]]
            ok, why = compare.close(sorted(areas), sorted(want['mask_areas']), rtol=0.03)
            if not ok:
                return False, f'image {i}: mask areas {why}'
        if want.get('keypoints'):
            theirs = np.asarray(want['keypoints'])
            ours = torch.as_tensor(p.keypoints[: len(theirs)]).numpy()
            off = np.abs(ours[..., :2] - theirs[..., :2]).max(-1)
            if np.mean(off > 1.0) > 0.05:
                return False, f'image {i}: {np.mean(off > 1.0):.0%} of the keypoints are off by more than a pixel'
        if 'sem_seg' in want and 'pred_sem_seg' not in sample and 'pred_panoptic_seg' not in sample:
            return False, f'image {i}: no pred_sem_seg'
        if 'panoptic' in want:
            seg = sample.pred_panoptic_seg.sem_seg
            if abs(len(torch.unique(seg)) - len(want['panoptic']) - bool(want['panoptic_void'])) > 1:
                return False, f'image {i}: {len(torch.unique(seg))} segments, expected {len(want["panoptic"])}'
            ours = sorted(torch.unique(seg, return_counts=True)[1].tolist())
            theirs = sorted([a for *_, a in want['panoptic']] + [want['panoptic_void']] * bool(want['panoptic_void']))
            if abs(ours[-1] - theirs[-1]) > 0.02 * seg.numel():
                return False, f'image {i}: the largest segment has {ours[-1]} pixels, expected {theirs[-1]}'
    return True, ''


def stages(rec):
    """Yield (stage, ok, why)."""
    model = our_model(rec)
    images = list(fill.images(2, *rec['image_size']))
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(dict(inputs=images, data_samples=samples(rec)), False)
        x = data['inputs']
        yield ('input', *compare.compare_probes([x], [rec['input']]))
        maps = compare.tensors(model.extract_feat(x)) if hasattr(model, 'extract_feat') else []
        wanted = [w for w in rec['backbone'].values() if tuple(w['shape']) in {tuple(m.shape) for m in maps}]
        same = [m for m in maps if list(m.shape) in [w['shape'] for w in wanted]]
        if wanted and len(wanted) == len(same):
            by_size = lambda shape: tuple(shape)  # noqa: E731
            yield ('maps', *compare.compare_probes(sorted(same, key=lambda m: by_size(m.shape)),
                                                   sorted(wanted, key=lambda w: by_size(w['shape']))))
        if 'predict' in rec:
            yield ('predict', *predictions(rec, model(x, data['data_samples'], mode='predict')))
    if 'grad_norm' not in rec or 'loss' in rec.get('skip', ()):
        return
    model.train()
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples(rec)), True)
    torch.manual_seed(0)
    losses = model(data['inputs'], data['data_samples'], mode='loss')
    if rec['source'] == 'detectron2':  # which divides the terms of its RPN by a constant, not by what was sampled
        losses = {name: value for name, value in losses.items() if 'rpn' not in name}
    total, _ = model.parse_losses(losses)
    yield ('loss', *compare.close(float(total), sum(rec['loss'].values()), rtol=RTOL))
    total.backward()
    norm = float(np.sqrt(sum(float(p.grad.double().norm()) ** 2 for p in model.parameters() if p.grad is not None)))
    yield ('grad', *compare.close(norm, rec['grad_norm'], rtol=5e-3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('files', nargs='+')
    parser.add_argument('--quiet', action='store_true', help='only the misses and the count')
    args = parser.parse_args()
    missed = 0
    for path in args.files:
        with gzip.open(path, 'rt') as f:
            rec = json.load(f)
        results = []
        try:
            results = list(stages(rec))
        except Exception as e:  # the stage that raised is the first one not listed
            results.append(('error', False, f'{type(e).__name__}: {str(e)[:200]}'))
        bad = [(s, why) for s, ok, why in results if not ok]
        missed += bool(bad)
        if bad or not args.quiet:
            print(f'{"MISS" if bad else "ok  "} {rec["source"]} {rec["config"]}: '
                  + (' | '.join(f'{s}: {why}' for s, why in bad) or ' '.join(s for s, _, _ in results)), flush=True)
    print(f'{len(args.files) - missed} of {len(args.files)} agree')
    sys.exit(bool(missed))


if __name__ == '__main__':
    main()
