"""Frames of a camera, which a video or arrays stand for."""

import numpy as np
import pytest

from mmdetlike.apis import DetInferencer
from mmdetlike.apis.videos import probe
from mmdetlike.cli.watch import main
from mmdetlike.datasets.errors import ImageError
from mmdetlike.errors import ConfigError
from tests.apis.helpers import picture, save_checkpoint, tiny_detector, write_video


@pytest.fixture(scope='module')
def inferencer():
    return DetInferencer(tiny_detector(), color_mode='image')


def test_frames_are_looked_at_as_they_come(inferencer):
    asked = []

    def camera():
        while True:
            asked.append(len(asked))
            yield picture()

    watched = inferencer.watch(camera(), pred_score_thr=0.0)
    prediction, drawn = next(watched)
    assert len(asked) == 1 and drawn.shape == (64, 96, 3) and len(prediction['bboxes']) > 0
    _, again = next(watched)
    assert len(asked) == 2
    # the same objects have the same colors
    assert np.array_equal(drawn, again)
    assert len(list(inferencer.watch(camera(), max_frames=3))) == 3


def test_a_video_stands_for_a_camera(inferencer, tmp_path):
    write_video(tmp_path / 'a.avi', 4, 'MJPG')
    found = list(inferencer.watch(str(tmp_path / 'a.avi'), out_dir=tmp_path / 'out'))
    assert len(found) == 4
    assert probe(str(tmp_path / 'out/vis/a.mp4')).frames == 4


def test_what_cannot_be_watched_is_told(inferencer):
    with pytest.raises(ImageError, match='camera 97: it can not be opened; expected the number of a camera'):
        next(inferencer.watch('97'))
    with pytest.raises(ImageError, match=r'gone\.stream: it can not be opened'):
        next(inferencer.watch('gone.stream'))
    with pytest.raises(ConfigError, match='max_frames=0 should be positive'):
        next(inferencer.watch([picture()], max_frames=0))


def test_windows_show_each_frame(inferencer, monkeypatch):
    shown = []
    monkeypatch.setattr(type(inferencer.visualizer), 'show', lambda self, image, **how: shown.append(how['wait_time']))
    list(inferencer.watch([picture(), picture(1)], show=True))
    assert len(shown) == 2 and 0 < shown[0] < 0.1


def test_the_command(tmp_path, capsys):
    write_video(tmp_path / 'a.avi', 3, 'MJPG')
    checkpoint = save_checkpoint(tiny_detector(), tmp_path / 'tiny.pth')
    main([str(tmp_path / 'a.avi'), str(checkpoint), '--no-window', '--max-frames', '2', '--device', 'cpu'])
    assert '2 frames' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(['0', str(checkpoint), '--max-frames', '0'])


def test_frames_keep_their_own_predictions(inferencer):
    # what is drawn has numbers and a threshold; what is returned has all that was found
    ((prediction, _),) = inferencer.watch([picture()], pred_score_thr=0.99)
    (whole,) = inferencer(picture(), no_save_vis=True)['predictions']
    assert prediction['scores'] == whole['scores']
