"""How do inferrers do on a target encoder that they were not trained on, its members known?

    python benchmarks/held_out_target.py ../shared/data/cifar10-train.zip runs/cifar10-target

The second argument is the folder of a `clipaudit train` run whose encoder is the target; its
pictures must be disjoint from those that the inferrers were trained on (`--without`).
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from clipaudit.encoders.base import OUTPUTS, EncoderOptions, Output
from clipaudit.images import content_id
from clipaudit.metrics import judge
from clipaudit.pipelines.score import ScoreConfig, score
from clipaudit.pipelines.train import read_split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="zip file that the run was trained on")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--inferrer", action="append", default=[])
    parser.add_argument("--output", action="append", choices=OUTPUTS)
    arguments = parser.parse_args()
    truth = read_split(arguments.run)
    wanted = dict.fromkeys(truth.members, True) | dict.fromkeys(truth.nonmembers, False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(arguments.data) as archive:
            for entry in archive.namelist():
                data = archive.read(entry)
                if content_id(data) in wanted:
                    (folder / content_id(data)).write_bytes(data)
        for output in arguments.output or OUTPUTS:
            report(folder, arguments.run, output, wanted, arguments.inferrer)


def report(
    folder: Path, run: Path, output: Output, is_member: dict[str, bool], inferrers: list[str]
) -> None:
    audit = score(
        [folder],
        ScoreConfig(
            encoder=f"shadow:{run}",
            options=EncoderOptions(output=output, offline=True),
            inferrers=tuple(inferrers),
            use_store=False,
        ),
    )
    rows = audit.scored
    member = np.array([is_member[row.sha256 or ""] for row in rows])
    print(f"\n{output}: {member.sum()} members, {(~member).sum()} non-members")
    print("| inferrer | accuracy | TPR | FPR | AUC |\n|---|---|---|---|---|")
    for position, inferrer in enumerate(audit.run.inferrers):
        scores = np.array([row.findings[position].score for row in rows])
        found = judge(scores, member, inferrer.threshold)
        cells = (found.accuracy, found.tpr, found.fpr, found.auc)
        texts = (f"{cell.value:.3f} ({cell.low:.3f} to {cell.high:.3f})" for cell in cells)
        print(f"| {inferrer.name} | {' | '.join(texts)} |")


if __name__ == "__main__":
    main()
