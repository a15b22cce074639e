import gc
import threading
import weakref
from collections.abc import Iterator

import pytest
from taught import ENDLESS, HALF, REST, TEXT, taught_checkpoint

from codebyte.apps.session import Session
from codebyte.config import SamplingParams
from codebyte.megabyte import Megabyte
from codebyte.scoring import surprisal
from codebyte.tasks.completion import Completion

DATA = TEXT.encode()
TYPED = HALF.encode()
LINE = REST.encode()
LOOP = ENDLESS.encode() * 4
SHORT = SamplingParams(max_new_bytes=1000)
LONG = SamplingParams(max_new_bytes=5000)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(taught_checkpoint())


def last(items: Iterator[object]) -> Completion:
    found = [item for item in items if isinstance(item, Completion)]
    assert len(found) == 1
    return found[0]


def test_pieces_joined_are_the_completion(session: Session) -> None:
    *pieces, done = session.complete("joined", TYPED, cancel=threading.Event())
    assert isinstance(done, Completion)
    assert b"".join(piece.text for piece in pieces) == done.text == LINE


def test_a_newer_request_of_the_same_client_ends_the_older(session: Session) -> None:
    older = session.complete("one", LOOP, cancel=threading.Event())
    next(older)
    newer = session.complete("one", TYPED, cancel=threading.Event())
    assert list(older) == []
    assert last(newer).text == LINE


def test_requests_of_different_clients_do_not_end_each_other(session: Session) -> None:
    one = session.complete("one", TYPED, cancel=threading.Event())
    other = session.complete("other", TYPED, cancel=threading.Event())
    first = next(one)
    assert last(other).text == LINE
    assert first.text + b"".join(item.text for item in one if not isinstance(item, Completion)) == (
        LINE
    )


def test_the_next_key_costs_only_what_is_new(session: Session) -> None:
    last(session.complete("typist", TYPED, cancel=threading.Event()))
    done = last(session.complete("typist", TYPED + LINE[:1], cancel=threading.Event()))
    assert done.cached == len(TYPED)


def test_a_cancelled_request_gives_no_more(session: Session) -> None:
    cancel = threading.Event()
    items = session.generate(LOOP, b"", LONG, cancel=cancel)
    next(items)
    cancel.set()
    assert list(items) == []


def test_ghost_text_does_not_wait_for_a_long_request(session: Session) -> None:
    cancel = threading.Event()
    started = threading.Event()
    ended = threading.Event()

    def long_request() -> None:
        for _ in session.generate(LOOP, b"", LONG, cancel=cancel):
            started.set()
        ended.set()

    thread = threading.Thread(target=long_request)
    thread.start()
    try:
        assert started.wait(60)
        done = last(session.complete("typist", TYPED, cancel=threading.Event()))
        assert done.text == LINE
        assert not ended.is_set()
    finally:
        cancel.set()
        thread.join()


def test_waiting_is_part_of_the_time_a_completion_may_take(session: Session) -> None:
    text = b"# waits for the text's cache\n" + TYPED
    older = session.complete("waiting", text, cancel=threading.Event())
    next(older)
    newer = session.complete("waiting", text, max_seconds=0.2, cancel=threading.Event())
    leaving = threading.Timer(0.5, older.close)
    leaving.start()
    assert last(newer).stop_reason == "time"
    leaving.join()


@pytest.mark.filterwarnings("default")  # what is collected may be gradio's, of tests before
def test_another_model_answers_from_now_on_and_the_old_one_ends_its_work(
    tiny_model: Megabyte,
) -> None:
    session = Session(taught_checkpoint())
    old = weakref.ref(session.model)
    whole = last(session.generate(LOOP, b"", SHORT, cancel=threading.Event())).text
    under_way = session.generate(LOOP, b"", SHORT, cancel=threading.Event())
    first = next(under_way)
    session.use(tiny_model)
    assert last(session.complete("one", TYPED, cancel=threading.Event())).text != LINE
    assert (session.score(DATA) == surprisal(tiny_model, DATA)).all()
    assert old() is not None
    rest = [item.text for item in under_way if not isinstance(item, Completion)]
    assert first.text + b"".join(rest) == whole
    del under_way
    gc.collect()
    assert old() is None  # and with it, its memory


class Holding(threading.Event):
    """A cancel flag that keeps the model for its request, once that has it, until it is free."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.free = threading.Event(), threading.Event()

    def is_set(self) -> bool:
        self.asked.set()
        return self.free.wait(60)


def test_a_completion_that_has_ended_waits_for_nobody(session: Session) -> None:
    items = session.complete("ended", TYPED, cancel=threading.Event())
    while not isinstance(next(items), Completion):
        pass
    holding = Holding()
    ending = threading.Thread(target=list, args=(items,))
    other = threading.Thread(target=lambda: list(session.generate(LOOP, b"", LONG, cancel=holding)))
    other.start()
    try:
        assert holding.asked.wait(60)
        ending.start()
        ending.join(5)
        assert not ending.is_alive()
    finally:
        holding.free.set()
        other.join()


def test_scores_are_the_models_surprise(session: Session) -> None:
    assert (session.score(DATA) == surprisal(session.model, DATA)).all()


def test_the_model_is_described_by_its_size_and_device(session: Session) -> None:
    assert session.describe() == f"{session.model.num_parameters() / 1e3:.0f}k parameters on CPU"
