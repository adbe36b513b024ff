"""Numbers read from answers, and Number Match, against cases worked by hand."""

import pytest

from zmem_lib.evaluation.numbers_in import number_match, number_match_strict, numbers_in


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("none of them", []),
        ("41932.20", [(41932.2, 1.0)]),
        ("$1,577.5 million", [(1577.5, 1e6)]),
        ("-12", [(-12.0, 1.0)]),
        ("−$3.7", [(-3.7, 1.0)]),
        ("$-3.7", [(-3.7, 1.0)]),
        ("(1,200)", [(-1200.0, 1.0)]),
        ("($ 12.5%)", [(-12.5, 0.01)]),
        ("(see note 3", [(3.0, 1.0)]),
        ("14.1 percent", [(14.1, 0.01)]),
        ("from 2018-2019", [(2018.0, 1.0), (2019.0, 1.0)]),
        ("1,23", [(1.0, 1.0), (23.0, 1.0)]),  # no separator of thousands
        ("1.5e-3", [(0.0015, 1.0)]),
        (".05", [(0.05, 1.0)]),
        ("3 billion and 2 THOUSAND.", [(3.0, 1e9), (2.0, 1e3)]),
    ],
)
def test_numbers_of_a_text(text, expected):
    assert [pytest.approx(pair) for pair in expected] == numbers_in(text)


@pytest.mark.parametrize(
    ("answer", "golds", "kind", "strict"),
    [
        ("206588", ["206588.0"], 1, 1),
        ("$206,588", ["206588.0"], 1, 1),
        ("207000", ["206588.0"], 1, 1),  # .002 away
        ("209000", ["206588.0"], 0, 0),  # .012 away
        ("-12", ["12.0"], 1, 0),  # the benchmark compares absolute values
        ("(12)", ["-12.0"], 1, 1),
        ("14.1%", ["0.141"], 1, 1),
        ("14.1%", ["14.1"], 1, 1),
        ("14.1", ["0.141"], 1, 0),  # a power of ten
        ("1.5 million", ["1500000"], 1, 1),
        ("1.5 million", ["1.5"], 1, 1),
        ("1500", ["1.5"], 1, 0),
        ("9.99", ["1.0"], 1, 0),  # ten times, but for .001
        ("5", ["1.0"], 0, 0),
        ("0.001", ["0"], 1, 1),
        ("0", ["5"], 0, 0),
        ("", ["5"], 0, 0),
        ("no", ["5"], 0, 0),
        ("5", ["no"], 0, 0),
        ("5", [], 0, 0),
        ("5 or 6", ["5"], 0, 0),  # two numbers are no answer
        ("5, so 5", ["5"], 1, 1),
        ("7", ["x", "5", "7"], 1, 1),
    ],
)
def test_number_match(answer, golds, kind, strict):
    assert (number_match(answer, golds), number_match_strict(answer, golds)) == (kind, strict)


@pytest.mark.parametrize("answer", ["0.0099", "0.01", "0.0102", "3.3", "-41.6", "1e-5"])
def test_bare_numbers_are_counted_as_the_benchmark_counts_them(answer):
    """Its rule in another form: absolute values, a quotient brought to near 1 by its own power of ten."""
    for gold in ("0.0098", "0.33", "416.1", "0.01005", "100000"):
        a, b = abs(float(answer)), abs(float(gold))
        if min(a, b) < 0.01:
            expected = max(a, b) < 0.01
        else:
            expected = any(abs(a / b * 10.0**power - 1) < 0.01 for power in range(-12, 13))
        assert number_match(answer, [gold]) == expected, gold
