import sys
from pathlib import Path

import pytest
import requests

from benchmarks import data, measure, scale, servers


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


def test_the_sample_of_an_organisation_stands_for_all_its_repositories_and_updates():
    org = scale.Organisation(repos=1000, updates=5000, alone=10, share=90)
    found = scale.sampled(org)
    assert [(one.first, one.last) for one in found[9:12]] == [(10, 10), (11, 100), (101, 190)]
    assert sum(one.weight for one in found) == 1000
    assert abs(sum(one.weight * one.updates for one in found) - 5000) <= 90
    assert [found[0].updates / found[rank - 1].updates for rank in (2, 10)] == pytest.approx([2, 10], rel=0.02)


def test_a_simulated_update_of_an_issue_is_one_row_and_one_point():
    org = scale.Organisation(repos=1, updates=1, alone=1, share=1)
    update = scale.updates(scale.sampled(org))[0]
    lived = scale.live(org, scale.Group(1, 1, minutes=360))
    turn = -(-(update.at - scale.START) // 21600) * 21600
    assert sum(lived.requests.values()) == 4 * 2
    assert (lived.rows, lived.lost) == (1, 0)
    assert {hour: points for hour, points in lived.points.items() if points} == {turn // 3600: 1}
    assert [lag for lag, _ in lived.lags] == [pytest.approx(scale.START + turn - update.at, abs=1)]


def test_a_simulated_day_brings_every_update_within_a_turn_and_a_run():
    org = scale.Organisation(repos=100, updates=500, alone=10, share=30)
    lived = scale.live(org, scale.Group(1, 100, minutes=240))
    assert sum(lived.requests.values()) >= 6 * 100 * 2
    assert sum(lived.points.values()) == pytest.approx(scale.reckoned_points(org, lived.group), rel=0.2)
    assert lived.lost == 0
    assert sum(weight for _, weight in lived.lags) == sum(one.updates * one.weight for one in scale.sampled(org))
    assert 0 < lived.rows <= 530
    assert min(lived.lags)[0] >= 0
    assert max(lived.lags)[0] <= 240 * 60 + lived.longest_run_seconds


def test_a_simulated_run_that_is_late_misses_turns_as_with_cron():
    org = scale.Organisation(repos=50_000, updates=0, alone=0, share=50_000)
    lived = scale.live(org, scale.Group(1, 50_000, minutes=60))  # 100,000 requests of a tenth of a second each
    assert sum(lived.requests.values()) == 9 * 100_000
    assert sum(lived.points.values()) == 0
    assert lived.longest_run_seconds == pytest.approx(10_000)


def test_the_share_of_updates_that_are_queued_in_time_goes_by_their_weight():
    lags = [(100, 1), (1, 1), (10, 98)]
    assert [scale.share_within(lags, share) for share in (0.01, 0.5, 0.95, 1)] == [1, 10, 10, 100]
