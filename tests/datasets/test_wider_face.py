import pytest
from PIL import Image

from mmdetlike.datasets import WIDERFaceDataset
from mmdetlike.datasets.errors import DataError
from mmdetlike.datasets.wider_face import read_face_list

XML = """<annotation><folder>0--Parade</folder><filename>a.jpg</filename>
<size><width>100</width><height>80</height></size>
<object><name>face</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object></annotation>"""

LIST = """0--Parade/a.jpg
2
10 20 30 40 0 0 0 0 0 0
1 2 3 4 1 0 0 1 0 0
0--Parade/b.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/c.jpg
1
5 5 10 10 0 0 0 0 0 0
"""


def dataset_of(tmp_path, ann_file, **kwargs):
    return WIDERFaceDataset(data_root=str(tmp_path), ann_file=ann_file, data_prefix={'img': 'WIDER_train'}, **kwargs)


def test_xml_files_beside_the_pictures(tmp_path):
    (tmp_path / 'WIDER_train/Annotations').mkdir(parents=True)
    (tmp_path / 'WIDER_train/Annotations/a.xml').write_text(XML)
    (tmp_path / 'train.txt').write_text('a\n')
    info = dataset_of(tmp_path, 'train.txt', filter_cfg={'bbox_min_size': 35}).get_data_info(0)
    assert info['img_path'] == str(tmp_path / 'WIDER_train/0--Parade/a.jpg')
    assert info['instances'] == [{'ignore_flag': 1, 'bbox': [0, 0, 40, 30], 'bbox_label': 0}]


def test_the_list_of_the_benchmark(tmp_path):
    for name in ('0--Parade/a.jpg', '0--Parade/b.jpg', '1--Handshaking/c.jpg'):
        path = tmp_path / 'WIDER_train/images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (100, 80)).save(path)
    (tmp_path / 'list.txt').write_text(LIST)
    dataset = dataset_of(tmp_path, 'list.txt')
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [info['img_id'] for info in infos] == ['0--Parade/a', '0--Parade/b', '1--Handshaking/c']
    assert infos[0]['img_path'] == str(tmp_path / 'WIDER_train/images/0--Parade/a.jpg')
    assert infos[0]['instances'] == [
        {'ignore_flag': 0, 'bbox': [10, 20, 40, 60], 'bbox_label': 0},
        {'ignore_flag': 1, 'bbox': [1, 2, 4, 6], 'bbox_label': 0},
    ]
    assert [len(info['instances']) for info in infos] == [2, 0, 1]
    assert (infos[2]['width'], infos[2]['height']) == (100, 80)


WRONG = {
    'a.jpg\nx\n': r"picture 'a\.jpg': expected the number of its faces in the line below its name, got \['x'\]",
    'a.jpg\n': r"picture 'a\.jpg': expected the number of its faces",
    'a.jpg\n2\n1 2 3 4\n': r"picture 'a\.jpg' should have 2 faces, but the file ends after 1",
    'a.jpg\n1\n1 2 3\n': r"picture 'a\.jpg' has the face '1 2 3'; expected numbers",
    'a.jpg\n1\n1 2 3 x\n': r"has the face '1 2 3 x'; expected numbers",
    'a.jpg\n0\na.jpg\n0\n': r"picture 'a\.jpg' is there twice",
}


@pytest.mark.parametrize('text', WRONG)
def test_each_fault_of_a_list_is_told(tmp_path, text):
    path = tmp_path / 'list.txt'
    path.write_text(text)
    with pytest.raises(DataError, match=WRONG[text]) as caught:
        read_face_list(str(path))
    assert str(caught.value).startswith(f'{path}: ')
