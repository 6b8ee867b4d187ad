import sys
from pathlib import Path

import pytest
import requests

from benchmarks import data, measure, servers


def contestant(name, log, turns=1):
    code = f"import os; open({str(log)!r}, 'a').write('{name} %s\\n' % os.getcwd()); print('{name}')"
    return measure.Contestant(
        name, [sys.executable, "-c", code], turns=turns, note=lambda took, folder: {took.output.strip(): 1}
    )


def test_contestants_take_turns_each_time_in_a_new_folder(tmp_path, capsys):
    log = tmp_path / "log"
    rows = measure.compare("case", [contestant("a", log), contestant("b", log, turns=2)], items=10, rounds=2)
    ran = [line.split() for line in log.read_text().splitlines()]
    assert [name for name, _ in ran] == ["a", "b", "b", "a", "b", "b"]
    assert len({folder for _, folder in ran}) == 6
    assert not [folder for _, folder in ran if Path(folder).exists()]
    assert [(row.name, row.notes) for row in rows] == [("a", {"a": 1}), ("b", {"b": 1})]
    assert rows[0].ratio == 1 and rows[1].ratio == pytest.approx(rows[1].rate / rows[0].rate)
    assert all(row.lowest <= row.rate <= row.highest and row.peak_mb > 1 for row in rows)
    assert [line.count("|") for line in capsys.readouterr().out.splitlines()] == [9, 9]


def test_a_contestant_that_fails_ends_the_benchmark_with_what_it_said(tmp_path):
    failing = measure.Contestant("broken", [sys.executable, "-c", "print('no such bucket'); raise SystemExit(3)"])
    with pytest.raises(SystemExit, match="ended with 3: no such bucket"):
        measure.compare("case", [failing], items=1, rounds=1)


@pytest.mark.parametrize("goal, figure, reached", [(measure.at_least, 0.9, False), (measure.at_most, 0.9, True)])
def test_a_goal_says_whether_its_figure_is_within_the_bound(goal, figure, reached):
    assert goal("speed", figure, 1.0).reached is reached
    assert goal("speed", 1.0, 1.0).reached


def test_payloads_are_the_same_in_every_run_and_about_six_kilobytes():
    texts = data.payloads(50)
    assert texts == data.payloads(50)
    assert 5_000 < sum(len(text.encode()) for text in texts) / len(texts) < 7_500


def test_a_delayed_server_passes_on_what_it_is_asked_and_what_it_answers(github):
    github.add_repo("acme/widgets").add_issue()
    with servers.delayed(github.url, 0.001) as url:
        answer = requests.get(url + "/repos/acme/widgets/issues", params={"state": "all"}, timeout=30)
    assert [item["number"] for item in answer.json()] == [1]
    assert len(github.journal) == 1
