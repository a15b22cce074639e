"""Who is let in, and in which order turns are given."""

import threading
import time

import pytest

from codebyte.apps.scheduler import BusyError, Cancel, Queue, Turns


def test_one_too_many_is_turned_away_and_told_when_to_come_again() -> None:
    queue = Queue(most=2)
    first, second = queue.enter("a"), queue.enter("b")
    with pytest.raises(BusyError, match="2 requests are under way; ask again in 1 s") as error:
        queue.enter("c")
    assert error.value.seconds == 1
    first.leave()
    first.leave()  # leaving twice makes room once
    third = queue.enter("c")
    with pytest.raises(BusyError):
        queue.enter("d")
    second.leave()
    third.leave()
    assert queue.inside == 0


def test_one_client_cannot_fill_the_queue() -> None:
    queue = Queue(most=4, of_one=2)
    places = [queue.enter("greedy"), queue.enter("greedy")]
    with pytest.raises(BusyError, match="2 requests of this client are under way"):
        queue.enter("greedy")
    places.append(queue.enter("modest"))
    assert queue.inside == 3


def test_the_busier_the_longer_one_is_told_to_wait() -> None:
    queue = Queue(most=1)
    for _ in range(40):
        queue.enter("a")
        queue.left("a", 5.0)
    with queue.enter("a"), pytest.raises(BusyError) as error:
        queue.enter("b")
    assert error.value.seconds == 5


def order_of(turns: Turns, waiting: list[str]) -> list[str]:
    """The order in which those who wait in this order get their turns."""
    found: list[str] = []
    threads = []

    def take(client: str) -> None:
        with turns.turn(client, Cancel()):
            found.append(client)

    with turns.turn("first", Cancel()):
        for client in waiting:
            threads.append(threading.Thread(target=take, args=(client,)))
            threads[-1].start()
            time.sleep(0.02)  # to stand in the queue before the next comes
    for thread in threads:
        thread.join()
    return found


def test_turns_go_round_the_clients_not_the_requests() -> None:
    found = order_of(Turns(), ["greedy", "greedy", "greedy", "modest", "late"])
    assert found == ["greedy", "modest", "late", "greedy", "greedy"]


def test_a_long_turn_lets_others_go_first_but_only_after_a_while() -> None:
    turns, found = Turns(quantum=0.2), []

    def short() -> None:
        with turns.turn("short", Cancel()):
            found.append("short")

    thread = threading.Thread(target=short)
    with turns.turn("long", Cancel()) as turn:
        turn.wrote()
        thread.start()
        time.sleep(0.002)
        turn.pause()
        found.append("soon")
        time.sleep(0.25)
        turn.pause()
        found.append("later")
    thread.join()
    assert found == ["soon", "short", "later"]


def test_a_first_byte_comes_before_more_of_another_text() -> None:
    turns, found = Turns(), []
    waits = threading.Event()

    def write() -> None:
        with turns.turn("writing", Cancel()) as turn:
            turn.wrote()
            turn.pass_on()
            waits.wait(5)
            turn.take()
            found.append("more")

    def ask() -> None:
        with turns.turn("asking", Cancel()):
            found.append("first byte")

    threads = [threading.Thread(target=write), threading.Thread(target=ask)]
    threads[0].start()
    time.sleep(0.02)
    with turns.turn("holding", Cancel()):
        waits.set()
        time.sleep(0.02)
        threads[1].start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    assert found == ["first byte", "more"]


def test_a_key_goes_before_a_new_file_but_not_for_ever() -> None:
    def order(to_read: int, later: float) -> list[str]:
        turns, found, threads = Turns(), [], []

        def ask(client: str, unread: int) -> None:
            with turns.turn(client, Cancel(), unread):
                found.append(client)

        with turns.turn("holding", Cancel()):
            for client, unread, wait in (("file", to_read, later), ("key", 1, 0.02)):
                threads.append(threading.Thread(target=ask, args=(client, unread)))
                threads[-1].start()
                time.sleep(wait)
        for thread in threads:
            thread.join()
        return found

    assert order(4000, 0.02) == ["key", "file"]
    assert order(200, 0.2) == ["file", "key"]


def test_what_was_waited_for_requests_given_up_counts() -> None:
    turns, found, threads = Turns(), [], []

    def ask(client: str, cancel: Cancel) -> None:
        with turns.turn(client, cancel) as turn:
            if turn.held:
                found.append(client)

    def start(client: str, cancel: Cancel) -> None:
        threads.append(threading.Thread(target=ask, args=(client, cancel)))
        threads[-1].start()
        time.sleep(0.02)

    given_up = Cancel()
    with turns.turn("holding", Cancel()):
        start("typing", given_up)
        start("other", Cancel())
        given_up.set()
        threads[0].join(5)
        start("typing", Cancel())
    for thread in threads:
        thread.join()
    assert found == ["typing", "other"]


def test_only_one_holds_the_model_at_a_time() -> None:
    turns, inside, most = Turns(quantum=0.0), 0, 0

    def work(client: str) -> None:
        nonlocal inside, most
        for _ in range(50):
            with turns.turn(client, Cancel()) as turn:
                inside += 1
                most = max(most, inside)
                inside -= 1
                turn.pause()

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, inside) == (1, 0)


def test_a_turn_that_fails_is_passed_on() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn("a", Cancel()):
        1 / 0  # noqa: B018
    with turns.turn("b", Cancel()):
        pass


def test_who_is_cancelled_waits_no_longer_and_holds_nobody_up() -> None:
    turns, cancel, held = Turns(), Cancel(), []

    def wait() -> None:
        with turns.turn("leaving", cancel) as turn:
            held.append(turn.held)
            turn.pause()

    with turns.turn("long", Cancel()):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.02)
        cancel.set()
        thread.join(5)
        assert held == [False]
        assert not turns.wanted
    with turns.turn("next", Cancel()) as turn:
        assert turn.held


def test_a_flag_that_is_up_already_is_seen() -> None:
    turns, cancel = Turns(), Cancel()
    cancel.set()
    with turns.turn("long", Cancel()), turns.turn("late", cancel) as turn:
        assert not turn.held
