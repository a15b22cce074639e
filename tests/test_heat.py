import re

import numpy as np

from codebyte.apps.heat import MOST_DRAWN, heat_map


def text_of(html: str) -> str:
    return re.sub(r"<[^>]*>", "", html)


def bits_of(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_neighbours_of_one_class_share_a_span() -> None:
    html = heat_map(b"abcd", bits_of(0.1, 6.0, 6.5, 0.2))
    assert 'a<span class="cb-h5">bc</span>d' in html


def test_the_bits_of_every_byte_are_told() -> None:
    html = heat_map(b"abcd\n\n", bits_of(0.1, 6.0, 6.5, 0.204, 3.0, 0.009))
    assert re.findall('data-b="([^"]*)"', html) == ["0.10 6.00 6.50 0.20 3.00", "0.01"]
    html = heat_map("\u00e9\\xff\n".encode() + b"\xff", np.arange(8, dtype=np.float32))
    told = re.findall('data-b="([^"]*)"', html)
    assert told == ["0.00+1.00 2.00 3.00 4.00 5.00 6.00", "7.00"]
    assert html.count("data-one") == 1  # the byte, not the four characters that were written so


def test_a_character_of_two_bytes_is_as_surprising_as_both() -> None:
    html = heat_map("\u00e9".encode(), bits_of(2.0, 2.0))
    assert '<span class="cb-h4">\u00e9</span>' in html


def test_a_map_is_bounded_where_every_byte_has_another_colour() -> None:
    data = b"&" * MOST_DRAWN
    bits = np.resize(bits_of(0.1, 6.0, 12.0), len(data))
    assert len(heat_map(data, bits)) < 40 * MOST_DRAWN


def test_a_line_shows_its_number_and_its_mean_bits_per_byte() -> None:
    html = heat_map(b"a\nbc\n", bits_of(1, 2, 3, 4, 5))
    rows = re.findall(r'cb-number">(\d+)</span><span class="cb-bits">([\d.]+)', html)
    assert rows == [("1", "1.50"), ("2", "4.00")]


def test_code_cannot_become_markup() -> None:
    code = b"<script>alert('x')</script>&\"\n"
    html = heat_map(code, np.full(len(code), 9.0, np.float32))
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&amp;&quot;" in html


def test_bytes_that_are_no_text_are_shown_by_value() -> None:
    shown = text_of(heat_map(b"\x00\xff\r\x7f", np.zeros(4, np.float32)))
    assert shown.endswith("\u2400\\xff\u240d\u2421")


def test_nothing_gives_no_rows() -> None:
    assert "cb-row" not in heat_map(b"", bits_of())
