"""Published weights are found by name, fetched whole, and checked by the hash in the name of their file."""

import functools
import hashlib
import http.server
import re
import threading
from pathlib import Path

import pytest
import torch

from mmdetlike import model_zoo
from mmdetlike.apis import DetInferencer, init_detector
from mmdetlike.errors import CheckpointError, ConfigError
from mmdetlike.utils import published as published_module
from mmdetlike.utils.published import Published, published

ROOT = Path(__file__).parents[1]
NAME = 'retinanet_r50_fpn_1x_coco'
QUICKSTART = 'retinanet_r18_fpn_shapes'


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that is served, and an empty cache; the sites of the table lie below the folder."""
    folder = tmp_path / 'site'
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=folder)
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(published_module.SITES, 'openmmlab', f'http://127.0.0.1:{server.server_port}/')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    yield folder
    server.shutdown()
    server.server_close()


@pytest.fixture
def quickstart(site, monkeypatch):
    """The weights of a small detector, published under its name; returns their file."""
    torch.manual_seed(3)
    model = init_detector(QUICKSTART, device='cpu')
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=model.dataset_meta)), site / 'new.pth')
    digest = hashlib.sha256((site / 'new.pth').read_bytes()).hexdigest()
    file = (site / 'new.pth').rename(site / f'{QUICKSTART}-{digest[:8]}.pth')
    entry = Published(QUICKSTART, f'quickstart/{QUICKSTART}.py', (f'openmmlab:{file.name}',), {})
    monkeypatch.setattr(published_module, 'published', lambda: {QUICKSTART: entry})
    return file


def test_the_table():
    assert len(published()) == len(model_zoo.list()) == 662
    assert model_zoo.get_scores(NAME) == {'COCO/box AP': 36.5}
    assert model_zoo.get_checkpoint_url(NAME) == (
        'https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/'
        'retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth'
    )
    assert model_zoo.get_checkpoint_url('COCO-Detection/faster_rcnn_R_50_FPN_1x').endswith('model_final_b275ba.pkl')
    assert all(address.startswith('https://') for entry in published().values() for address in [_first(entry)])


def _first(entry: Published) -> str:
    return Published(entry.name, entry.config, entry.addresses[:1], {}).url


@pytest.mark.parametrize(
    'name',
    [
        'faster-rcnn_r50_fpn_1x_coco',
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'faster_rcnn_r50_fpn_1x_coco',  # of 2.x
    ],
)
def test_spellings_of_a_name(name):
    assert model_zoo.get_checkpoint_url(name).endswith('faster_rcnn_r50_fpn_1x_coco_20200130-047c8118.pth')
    assert model_zoo.get_config_file(name).name == 'faster-rcnn_r50_fpn_1x_coco.py'
    config = model_zoo.get_config(name, trained=True)
    assert config.model.type == 'FasterRCNN'
    assert config.load_from == model_zoo.get_checkpoint_url(name)


def test_a_folder_with_a_plus_is_spelt_as_such():
    name = 'faster-rcnn_r50_fpn_gn_ws-all_1x_coco'  # that of the weights, which the config's is not
    assert model_zoo.get_config_file(name).name == 'faster-rcnn_r50_fpn_gn-ws-all_1x_coco.py'
    assert not [entry.config for entry in published().values() if '%' in entry.config]


def test_published_weights_have_a_config_here():
    """All but those of families that aren't here: trackers and video, GLIP, Grounding DINO."""
    configs = [entry.config for entry in published().values() if entry.config]
    missing = [config for config in configs if not (ROOT / 'configs' / config).is_file()]
    assert len(configs) == 585
    assert len(missing) == 37
    assert [config for config in missing if not re.search('track|sort|youtubevis|glip|grounding_dino', config)] == []


def test_names_that_lead_nowhere():
    with pytest.raises(
        ConfigError, match=r"no weights of 'retinanet_\w+' are published; did you mean retinanet_r50_fpn_1x"
    ):
        model_zoo.get_checkpoint_url('retinanet_r50_fpn_1x_cocoo')
    with pytest.raises(ConfigError, match='is made of several models, whose weights are files of their own: https'):
        model_zoo.get_checkpoint_url('strongsort_yolox_x_8xb4-80e_crowdhuman-mot20train_test-mot20test')
    with pytest.raises(ConfigError, match=r'config of deepsort_\S+ is not shipped: expected configs/deepsort/'):
        model_zoo.get_config('deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval')


def test_a_detector_with_published_weights(quickstart, tmp_path, capfd):
    trained = torch.load(quickstart)['state_dict']
    models = [
        init_detector(QUICKSTART, pretrained=True, device='cpu'),
        model_zoo.get(QUICKSTART, trained=True, device='cpu'),
        DetInferencer(QUICKSTART, device='cpu').model,
    ]
    for model in models:
        assert all(torch.equal(value, trained[key]) for key, value in model.state_dict().items())
    cached = tmp_path / 'hub' / 'checkpoints'
    assert [path.name for path in cached.iterdir()] == [quickstart.name]
    assert capfd.readouterr().err.count(f'{quickstart.name}: 100%') >= 1


def test_another_file_than_its_name_says(quickstart, tmp_path):
    quickstart.write_bytes(b'<html>please log in</html>')
    digest = hashlib.sha256(quickstart.read_bytes()).hexdigest()[:8]
    with pytest.raises(CheckpointError, match=f'its SHA-256 begins with {digest}, expected {quickstart.stem[-8:]}'):
        init_detector(QUICKSTART, pretrained=True, device='cpu')
    assert list((tmp_path / 'hub' / 'checkpoints').iterdir()) == []


def test_without_a_network_the_file_to_put_is_named(quickstart, tmp_path):
    quickstart.unlink()
    place = tmp_path / 'hub' / 'checkpoints' / quickstart.name
    with pytest.raises(CheckpointError, match=f'could not download http.*{quickstart.name}: .*Put the file at {place}'):
        DetInferencer(QUICKSTART, device='cpu')


def test_pretrained_goes_without_a_checkpoint():
    with pytest.raises(ConfigError, match=r"pretrained=True and checkpoint='a\.pth': give one of them"):
        init_detector(NAME, 'a.pth', pretrained=True)
