"""Work done ahead in threads: order, bounds, errors and interruption; and what the inferencer makes of it."""

import threading
import time
from contextlib import closing

import pytest

from mmdetlike.apis import DetInferencer
from mmdetlike.apis.overlap import iterate_ahead, map_ahead
from mmdetlike.apis.results import to_dict
from tests.apis.helpers import files_below, picture, write_pictures


def our_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith('mmdetlike-')]


def test_results_come_in_order_and_no_faster_than_they_are_used():
    taken = []

    def items():
        for i in range(20):
            taken.append(i)
            yield i

    def slow_if_even(i):
        time.sleep(0.002 * (i % 2 == 0))
        return i * i

    with closing(map_ahead(slow_if_even, items(), ahead=3, threads=2)) as results:
        assert taken == []
        for i, result in enumerate(results):
            assert result == i * i
            assert len(taken) == min(20, i + 4)
    assert i == 19


def test_the_next_result_is_computed_while_one_is_used():
    begun = [threading.Event() for _ in range(3)]
    with closing(map_ahead(lambda i: begun[i].set(), range(3), ahead=1)) as results:
        next(results)
        assert begun[1].wait(5)
        assert not begun[2].is_set()


def test_an_error_takes_the_place_of_its_result():
    with closing(map_ahead(lambda i: 1 / (i - 2), range(5), ahead=2)) as results:
        assert [next(results), next(results)] == [-0.5, -1]
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert our_threads() == []


@pytest.mark.parametrize(('finish', 'most'), [(False, 3), (True, 6)])
def test_closing_drops_or_finishes_what_was_taken(finish, most):
    called = []
    first_is_out = threading.Event()

    def function(i):
        if i > 0:
            assert first_is_out.wait(5)
            time.sleep(0.05)
        called.append(i)

    results = map_ahead(function, range(100), ahead=5, finish=finish)
    next(results)
    first_is_out.set()
    results.close()
    assert our_threads() == []
    assert called == list(range(6)) if finish else len(called) <= most


def test_a_thread_takes_items_ahead():
    threads = []

    def items():
        for i in range(3):
            threads.append(threading.current_thread())
            yield i

    assert list(iterate_ahead(items(), 2)) == [0, 1, 2]
    assert list(iterate_ahead([], 2)) == []
    assert threading.main_thread() not in threads


def test_an_interrupted_call_leaves_no_threads_and_what_it_found(detector, tmp_path, monkeypatch):
    pictures = write_pictures(tmp_path / 'pictures', 8)
    inferencer = DetInferencer(detector, show_progress=False)
    test_step = detector.test_step
    steps = []

    def interrupted(batch):
        steps.append(len(batch['inputs']))
        if len(steps) == 4:
            raise KeyboardInterrupt
        return test_step(batch)

    monkeypatch.setattr(detector, 'test_step', interrupted)
    with pytest.raises(KeyboardInterrupt):
        inferencer(pictures, out_dir=tmp_path / 'out', no_save_pred=False)
    assert our_threads() == []
    assert files_below(tmp_path / 'out/preds') == ['0.json', '1.json', '2.json']
    assert files_below(tmp_path / 'out/vis') == ['0.png', '1.png', '2.png']


def test_a_picture_that_cannot_be_written_ends_the_call(inferencer, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mmdetlike.apis.results.save_image', full)
    with pytest.raises(OSError, match='No space left'):
        inferencer(write_pictures(tmp_path / 'pictures', 20), out_dir=tmp_path / 'out')
    assert our_threads() == []


def test_a_stream_gives_what_a_call_returns(inferencer, tmp_path, expected):
    pictures = [*write_pictures(tmp_path / 'pictures', 4), tmp_path / 'gone.png']
    found = list(inferencer.stream(pictures, batch_size=2))
    assert [one['labels'] for one in found[:4]] == [one['labels'] for one in expected]
    assert 'no such' in found[4]['error']
    assert list(inferencer.stream(picture())) == expected[:1]
    counts = [len(prediction['scores']) for prediction in expected]
    assert list(inferencer.stream(pictures[:4], convert=lambda sample: len(sample.pred_instances))) == counts


def test_a_stream_of_any_length_takes_pictures_as_it_goes(inferencer, expected):
    taken = []

    def endless():
        while True:
            taken.append(None)
            yield picture()

    with closing(inferencer.stream(endless())) as found:
        for _ in range(5):
            assert next(found) == expected[0]
    assert 5 <= len(taken) < 15
    assert our_threads() == []


def test_arguments_of_a_stream_are_checked_at_once(inferencer, tmp_path):
    with pytest.raises(ValueError, match='batch_size must be a positive integer, got 0'):
        inferencer.stream(picture(), batch_size=0)
    with pytest.raises(FileNotFoundError, match='no pictures'):
        inferencer.stream(tmp_path)


def test_samples_alone_are_not_converted(inferencer, monkeypatch, expected):
    monkeypatch.setattr('mmdetlike.apis.inferencer.to_dict', None)
    (sample,) = inferencer(picture(), return_datasamples=True)['predictions']
    assert to_dict(sample) == expected[0]
