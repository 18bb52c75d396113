"""Concurrency that adapts, rates, waits and what a status means: arithmetic, on a clock that the test turns."""

import asyncio
import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.errors import InputError
from sari_data.responders.limits import Concurrency, Gate, Rate
from sari_data.responders.retry import Backoff, judge, retry_after, server_message


def play(concurrency: Concurrency, seconds: int, capacity: int) -> list[int]:
    """Send a full load in each second to a server that refuses what is more than ``capacity``; return the loads."""
    loads = []
    for _ in range(seconds):
        load, epoch = int(concurrency.limit), concurrency.epoch
        loads.append(load)
        for number in range(load):
            if number < capacity:
                concurrency.answered(load)
            else:
                concurrency.refused(epoch)
    return loads


def test_concurrency_doubles_until_the_first_refusal_and_then_saws_around_what_there_is_room_for():
    concurrency = Concurrency(256)
    loads = play(concurrency, 60, capacity=50)
    assert loads[:4] == [8, 16, 32, 64]
    steady = loads[10:]
    assert max(steady) <= 52  # by one a round, never again by doubling
    assert min(steady) >= 25  # half of what was too much
    assert sum(steady) / len(steady) > 33


def test_concurrency_falls_to_one_in_a_storm_and_recovers():
    concurrency = Concurrency(64, first=64)
    assert play(concurrency, 10, capacity=0)[-1] == 1
    assert concurrency.lowest == 1
    assert play(concurrency, 80, capacity=10_000)[-1] == 64


def test_the_refusals_of_one_round_halve_the_limit_once():
    concurrency = Concurrency(32, first=32)
    epoch = concurrency.epoch
    for _ in range(32):
        concurrency.refused(epoch)
    assert concurrency.limit == 16
    concurrency.refused(concurrency.epoch)
    assert concurrency.limit == 8


def test_a_limit_that_is_not_used_does_not_grow():
    concurrency = Concurrency(100, first=8)
    for _ in range(50):
        concurrency.answered(2)
    assert concurrency.limit == 8
    concurrency.answered(4)
    assert concurrency.limit == 9


@pytest.mark.parametrize("make", [lambda: Concurrency(0), lambda: Rate(0), lambda: Rate(-5.0)])
def test_limits_that_let_nothing_through_are_refused(make):
    with pytest.raises(InputError, match="must be"):
        make()


@given(
    st.floats(1, 5000),
    st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 400)), min_size=1, max_size=60),
    st.floats(0, 100),
)
def test_no_minute_holds_more_than_the_rate_and_one_amount(per_minute, steps, begin):
    """Whoever waits as told never spends more in any 60 seconds than the rate and the amount of one request."""
    rate, now, spent = Rate(per_minute), begin, []
    for idle, amount in steps:
        now += idle
        now += rate.wait(now)
        assert rate.wait(now) == pytest.approx(0, abs=1e-9)
        rate.spend(amount, now)
        spent.append((now, amount))
    for first, _ in spent:
        within = [amount for when, amount in spent if first <= when < first + 60 - 1e-6]
        assert sum(within) <= per_minute + max(within) + 1e-6


def test_a_rate_is_reached_and_given_back_tokens_count():
    rate, now = Rate(60), 0.0
    for _ in range(120):
        now += rate.wait(now)
        rate.spend(1, now)
    assert now == pytest.approx(119)  # one a second: not slower either
    rate.spend(600, now)
    rate.spend(-590, now)  # it used 10, not 600
    assert rate.wait(now) == pytest.approx(11)
    assert Rate(None).wait(5) == 0


def test_the_gate_lets_no_more_in_than_the_limit_and_keeps_to_the_order():
    async def run() -> tuple[list[int], int]:
        gate = Gate(Concurrency(3, first=3), Rate(None), Rate(None))
        order, most = [], 0

        async def visit(number: int) -> None:
            nonlocal most
            await gate.enter(0)
            order.append(number)
            most = max(most, gate.under_way)
            await asyncio.sleep(0.001)
            gate.leave()

        await asyncio.gather(*(visit(n) for n in range(20)))
        assert gate.under_way == 0
        return order, most

    assert asyncio.run(run()) == (list(range(20)), 3)


def test_a_pause_closes_the_gate_and_who_gives_up_waiting_leaves_it_whole():
    async def run() -> float:
        gate = Gate(Concurrency(1), Rate(None), Rate(None))
        loop = asyncio.get_running_loop()
        await gate.enter(0)
        impatient = asyncio.create_task(gate.enter(0))
        await asyncio.sleep(0)
        impatient.cancel()
        gate.pause(0.05)
        gate.leave()
        began = loop.time()
        await gate.enter(0)
        return loop.time() - began

    assert 0.045 <= asyncio.run(run()) < 1


NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0),
        # This machine's clock may be wrong; the server's own is what its date is measured on.
        (
            {
                "retry-after": format_datetime(NOW + timedelta(hours=3, seconds=5), usegmt=True),
                "date": format_datetime(NOW + timedelta(hours=3), usegmt=True),
            },
            5,
        ),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_breaks_the_reader(value):
    found = retry_after({"retry-after": value, "date": value}, NOW)
    assert found is None or found >= 0


def test_waits_double_with_full_jitter_up_to_the_longest():
    backoff, draw = Backoff(first=1, longest=60), random.Random(0)
    for failures, bound in [(1, 1), (2, 2), (4, 8), (7, 60), (5000, 60)]:
        waits = [backoff.wait(failures, draw) for _ in range(400)]
        assert max(waits) <= bound
        assert max(waits) > 0.9 * bound  # full jitter: from nothing
        assert min(waits) < 0.1 * bound
    asked = [backoff.wait(3, draw, asked_for=20) for _ in range(100)]
    assert min(asked) >= 20
    assert max(asked) <= 21
    assert len(set(asked)) > 90  # so that not all come back at once


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(400, "fail"), (413, "fail"), (422, "fail"), (401, "stop"), (402, "stop"), (403, "stop"), (404, "stop")]
    + [(status, "retry") for status in (408, 409, 425, 429, 500, 502, 503, 504, 529)],
)
def test_what_a_status_means(status, verdict):
    assert judge(status) == verdict


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"message": "too long", "code": 400}}', "too long"),
        (b'{"object": "error", "message": "too\\nlong"}', "too long"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"detail": [{"loc": ["body"], "msg": "bad"}]}', '[{"loc": ["body"], "msg": "bad"}]'),
        (b"<html>\n  502 Bad Gateway</html>", "<html> 502 Bad Gateway</html>"),
        (b"\xff\xfe", "��"),
        (b"", ""),
    ],
)
def test_what_an_error_says_is_found(body, said):
    assert server_message(body) == said


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.text() | st.integers(),
        lambda s: st.dictionaries(st.sampled_from(["error", "message", "detail"]), s),
    ).map(lambda v: json.dumps(v).encode())
)
def test_no_error_body_breaks_the_reader(body):
    assert len(server_message(body)) <= 300
