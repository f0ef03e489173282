"""The backward benchmark on a network of a moment: what passes, what does not, what it prints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks import backward, peers
from benchmarks.measure import Timing, alternate
from benchmarks.net import Net


def tiny():
    net = Net("tiny", seed=1)
    x = net.relu(net.conv(net.input("input", 3, 8, 8), 3, 16, 3, norm=False))
    x = net.node("Flatten", net.node("GlobalAveragePool", x), axis=1)
    return net.model(net.dense(x, 16, 5), 5)


@pytest.fixture
def small(monkeypatch):
    """Every case, on a tiny network, with bounds that its overhead cannot reach."""
    cases = tuple(
        replace(case, network="tiny", bound=1e6)
        for case in backward.CASES
        if case.network == "vgg16"
    )
    monkeypatch.setattr(backward, "NETWORKS", {"tiny": tiny})
    monkeypatch.setattr(backward, "CASES", cases)
    return cases


def test_every_case_runs_and_is_reported(small, tmp_path, capsys):
    report = tmp_path / "report.json"
    assert backward.main(["--rounds", "2", "--json", str(report)]) == 0
    results = json.loads(report.read_text("utf-8"))
    assert [r["case"] for r in results] == [c.name for c in small]
    for result in results:
        assert result["passed"]
        assert result["growth"] == result["size"] - result["plain_size"] > 0
        assert result["cpu"] == pytest.approx(
            result["times"]["ours"]["cpu"] / result["times"]["plain"]["cpu"]
        )
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + len(small)
    assert all(len(line) <= 90 for line in printed)


def test_a_ratio_above_its_bound_fails(small, monkeypatch, capsys):
    monkeypatch.setattr(backward, "CASES", (replace(small[0], bound=0.0),))
    assert backward.main(["--rounds", "1"]) == 1
    assert "OVER" in capsys.readouterr().out


def test_a_file_that_grows_too_much_fails(small, monkeypatch, capsys):
    monkeypatch.setattr(backward, "FIXED", 0)
    monkeypatch.setattr(backward, "PER_NODE", 0)
    monkeypatch.setattr(backward, "CASES", small[:1])
    assert backward.main(["--rounds", "1"]) == 1
    assert "grew by" in capsys.readouterr().out


def test_a_case_that_breaks_does_not_stop_the_others(small, monkeypatch, capsys):
    broken = replace(small[0], options={"method": "no such method"})
    monkeypatch.setattr(backward, "CASES", (broken, small[1]))
    assert backward.main(["--rounds", "1"]) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    assert f"{small[1].name} " in out


@pytest.mark.parametrize("program", [backward, peers])
def test_an_unknown_case_is_a_usage_error(program, monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda name: object())
    with pytest.raises(SystemExit) as stopped:
        program.main(["--only", "lenet"])
    assert stopped.value.code == 2
    assert "lenet" in capsys.readouterr().err


def test_the_comparison_says_what_it_needs(monkeypatch, capsys):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stopped:
        peers.main([])
    assert stopped.value.code == 2
    assert "torch and zennit and captum not installed" in capsys.readouterr().err


def test_our_own_block_agrees_with_itself(small, monkeypatch, tmp_path):
    monkeypatch.setattr(peers.backward, "NETWORKS", {"tiny": tiny})
    block = peers.Block("tiny", "epsilon", "rfponnx")
    peers.written("tiny", [block], tmp_path)
    line = peers.measure(block, tmp_path, 2)
    assert line.cosine == pytest.approx(1.0)
    assert 0 <= line.peak < 500


def test_what_alternates_runs_once_a_round():
    calls = []
    runs = [("a", lambda: calls.append("a")), ("b", lambda: calls.append("b"))]
    times = alternate(runs, rounds=3, warm_up=1)
    assert calls == ["a", "b"] * 4
    assert all(isinstance(t, Timing) and len(t.rounds) == 3 for t in times.values())
