"""The demo's own chain, short: what comes out, and what it leaves behind."""

import torch

from clipaudit.pipelines.demo import DemoConfig, demo


def test_scores_are_the_same_on_any_number_of_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_WORKERS", "0")
    before = torch.get_num_threads()
    config = DemoConfig(n_pictures=10, epochs=2)
    scores = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            shown = demo(tmp_path / str(n_threads), config)
            assert torch.get_num_threads() == n_threads
            scores.append([[finding.score for finding in row.findings] for row in shown[0].audit])
    finally:
        torch.set_num_threads(before)
    assert len(scores[0]) == 20
    assert scores[0] == scores[1]
