"""Videos and animated pictures through the inferencer."""

import json
import shutil
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdetlike.apis.results import ResultWriter
from mmdetlike.apis.sources import Item
from mmdetlike.apis.videos import Video, probe, read_frames
from mmdetlike.datasets.errors import ImageError
from tests.apis.helpers import files_below, picture, write_pictures, write_video


@pytest.mark.parametrize(('name', 'codec'), [('clip.mp4', 'mp4v'), ('clip.avi', 'MJPG')])
def test_video(inferencer, detector, tmp_path, name, codec):
    frames = write_video(tmp_path / name, 5, codec)
    assert len(frames) == 5
    result = inferencer(tmp_path / name, batch_size=2, out_dir=tmp_path / 'out', no_save_pred=False, pred_score_thr=0)
    expected = inferencer(frames, batch_size=2)['predictions']
    assert result['predictions'] == expected
    assert json.loads((tmp_path / 'out/preds/clip.json').read_text()) == expected
    written = cv2.VideoCapture(str(tmp_path / 'out/vis/clip.mp4'))
    assert written.get(cv2.CAP_PROP_FPS) == 8
    drawn = [written.read()[1] for _ in range(5)]
    assert not written.read()[0]
    for frame, original in zip(drawn, frames):
        assert frame.shape == (64, 96, 3)
        assert np.abs(frame.astype(int) - original).mean() > 3  # something is drawn


def test_colors_of_a_video(inferencer, tmp_path):
    (original, *_) = write_video(tmp_path / 'clip.avi', 2, 'MJPG')
    inferencer(tmp_path / 'clip.avi', out_dir=tmp_path, pred_score_thr=1.1)
    frame = cv2.VideoCapture(str(tmp_path / 'vis/clip.mp4')).read()[1].astype(int)
    assert np.abs(frame - original).mean() < 8 < np.abs(frame[..., ::-1] - original).mean()


def test_videos_and_pictures_together(inferencer, tmp_path, expected):
    write_video(tmp_path / 'a.avi', 2, 'MJPG')
    for name in 'bc':
        write_video(tmp_path / f'{name}.avi', 3, 'MJPG')
    (tmp_path / 'broken.mp4').write_bytes(b'nothing')
    write_pictures(tmp_path / 'pictures', 1)
    inputs = [
        tmp_path / 'a.avi',
        tmp_path / 'pictures',
        tmp_path / 'broken.mp4',
        tmp_path / 'b.avi',
        tmp_path / 'c.avi',
    ]
    predictions = inferencer(inputs, batch_size=4, out_dir=tmp_path / 'out', no_save_pred=False)['predictions']
    assert len(predictions) == 2 + 1 + 1 + 3 + 3
    assert predictions[2]['labels'] == expected[0]['labels']
    assert predictions[3] == dict(error=f'{tmp_path}/broken.mp4: OpenCV cannot read it as a video')
    saved = {
        name: json.loads((tmp_path / 'out/preds' / name).read_text()) for name in files_below(tmp_path / 'out/preds')
    }
    assert saved == {
        'a.json': predictions[:2],
        'pictures/0.json': predictions[2],
        'b.json': predictions[4:7],
        'c.json': predictions[7:],
    }


def test_a_sole_broken_video_raises(inferencer, tmp_path):
    (tmp_path / 'broken.mp4').write_bytes(b'nothing')
    with pytest.raises(ImageError, match=r'broken\.mp4: OpenCV cannot read it'):
        inferencer(tmp_path / 'broken.mp4')


def test_videos_by_content(inferencer, tmp_path):
    write_video(tmp_path / 'a.avi', 3, 'MJPG')
    for name in ('a.ts', 'a.3gp', 'a.xyz', 'noending', 'A.MOV'):
        shutil.copy(tmp_path / 'a.avi', tmp_path / name)
        assert len(inferencer(tmp_path / name)['predictions']) == 3, name
    (tmp_path / 'notes.txt').write_text('no picture and no video')
    with pytest.raises(ImageError, match=r'notes\.txt: it is damaged or of an unknown format'):
        inferencer(tmp_path / 'notes.txt')


@pytest.mark.parametrize('suffix', ['.gif', '.webp', '.png'])
def test_animated_pictures(inferencer, tmp_path, suffix):
    first, *others = [Image.fromarray(picture(i)[..., ::-1]) for i in range(3)]
    path = tmp_path / f'a{suffix}'
    first.save(path, save_all=True, append_images=others, duration=50, lossless=True)
    result = inferencer(path, out_dir=tmp_path / 'out', no_save_pred=False)
    assert len(result['predictions']) == 3
    assert len(json.loads((tmp_path / 'out/preds/a.json').read_text())) == 3
    assert cv2.VideoCapture(str(tmp_path / 'out/vis/a.mp4')).get(cv2.CAP_PROP_FPS) == 20
    first.save(tmp_path / f'still{suffix}')
    inferencer(tmp_path / f'still{suffix}', out_dir=tmp_path / 'out')
    assert list((tmp_path / 'out/vis').glob('still.[pw]*'))


def test_a_video_that_is_cut_short(inferencer, tmp_path):
    write_video(tmp_path / 'a.avi', 20, 'MJPG')
    content = (tmp_path / 'a.avi').read_bytes()
    (tmp_path / 'a.avi').write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r'a\.avi: (\d+) of the 20 frames that it announces could be read'):
        read = len(inferencer(tmp_path / 'a.avi')['predictions'])
    assert 0 < read < 20


def test_frames_after_a_damaged_one_are_read(monkeypatch, tmp_path):
    answers = [(True, 0), (False, None), (True, 2), (False, None), (False, None), (True, 5)]

    class Capture:
        def __init__(self, path):
            self.answers = iter(answers)

        def read(self):
            return next(self.answers, (False, None))

        def release(self):
            pass

    monkeypatch.setattr(cv2, 'VideoCapture', Capture)
    with pytest.warns(UserWarning, match='a.avi: 3 of the 6 frames'):
        assert list(read_frames(Video('a.avi', 25, 6))) == [0, 2, 5]
    assert list(read_frames(Video('a.avi', 25, 0))) == [0, 2, 5]


def test_frames_of_another_size_are_written(tmp_path):
    video = Video('clip.avi', 8, 2)
    with ResultWriter(tmp_path, save_vis=True, save_pred=False) as writer:
        for height in (64, 32):
            frame = np.zeros((height, 96, 3), np.uint8)
            writer.write(Item(frame, video), {}, frame)
    capture = cv2.VideoCapture(str(tmp_path / 'vis/clip.mp4'))
    assert [capture.read()[0] for _ in range(3)] == [True, True, False]


def test_a_video_without_frames(inferencer, tmp_path):
    write_video(tmp_path / 'a.avi', 0, 'MJPG')
    with pytest.raises(ImageError, match=r'a\.avi: it is a video without a frame that can be read'):
        inferencer(tmp_path / 'a.avi')


def test_a_gif_that_is_cut_short(tmp_path):
    pictures = [Image.fromarray(np.full((40, 40, 3), value, np.uint8)) for value in (10, 90, 170, 250)]
    path = tmp_path / 'a.gif'
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert len(list(read_frames(probe(str(path))))) == 4
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with pytest.warns(UserWarning, match=r'a\.gif: the file is cut short; \d frames could be read'):
        list(read_frames(probe(str(path))))
