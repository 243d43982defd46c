"""What came of picking a control: plain data, which goes to the screen and into `control.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# Not for the type checker alone: a card is read by these types.
from clipaudit.blind.baseline import BlindCheck
from clipaudit.blind.matching import IMBALANCE, Balance

if TYPE_CHECKING:
    from pathlib import Path

FORMAT_VERSION = 1
CARD = "control.json"
CONTROL = "control"
SUSPECTS = "suspects"

METHOD = (
    "optimal assignment without replacement, by propensity of the blind baseline and standardised "
    "image statistics, near-exact in kind (Rosenbaum and Rubin 1985; Rosenbaum 1989); no score of "
    "any encoder was seen"
)


@dataclass(frozen=True, slots=True)
class PickedPicture:
    """A picture of the control.

    Attributes:
        file: Its name in the folder.
        sha256: Of the picture in the pile, in hex.
        suspect: SHA-256 of the suspect that it was picked for.
    """

    file: str
    sha256: str
    suspect: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Pictures that were not to be picked, or not to be matched.

    Attributes:
        unreadable: Files of suspects and pile that give no picture.
        repeated: Suspects, and pictures of the pile, that are copies or near-duplicates of others
            on their own side.
        shared: Pictures of the pile that are copies or near-duplicates of suspects.
        too_small: Pictures of the pile that are smaller than the size all are brought to.
    """

    unreadable: int
    repeated: int
    shared: int
    too_small: int = 0


@dataclass(frozen=True, slots=True)
class Equalised:
    """The one format that all pictures were brought to.

    Attributes:
        size_px: Both sides of the square; aspects are not kept, as encoders do not keep them.
        format: Name of the format.
        quality: JPEG quality.
        subsampling: JPEG chroma subsampling.
    """

    size_px: int
    format: str = "JPEG"
    quality: int = 85
    subsampling: str = "4:2:0"


@dataclass(frozen=True, slots=True)
class Control:
    """A control that was picked from a pile.

    Attributes:
        folder: Where it was written.
        n_suspects: Different suspects.
        n_pile: Different pictures that could be picked.
        left_out: What could not be.
        pictures: Those that were picked.
        unmatched: SHA-256 of suspects for which no picture of the pile is near.
        n_of_other_kind: Pictures that were picked all the same, though they differ in kind.
        balances: How far the two sets are apart in each statistic, before and after.
        before: Whether suspects and pile can be told apart without the encoder.
        after: The same of suspects and control.
        seed: Seed of the classifiers.
        equalised: What all pictures were brought to; None where they are as they were.
    """

    folder: Path
    n_suspects: int
    n_pile: int
    left_out: LeftOut
    pictures: tuple[PickedPicture, ...]
    unmatched: tuple[str, ...]
    n_of_other_kind: int
    balances: tuple[Balance, ...]
    before: BlindCheck
    after: BlindCheck
    seed: int
    equalised: Equalised | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def control(self) -> Path:
        """Folder of the pictures, for `score --control`."""
        return self.folder / CONTROL

    @property
    def suspects(self) -> Path | None:
        """Folder of the suspects, where all pictures were brought to one format."""
        return self.folder / SUSPECTS if self.equalised else None

    @property
    def imbalances(self) -> tuple[Balance, ...]:
        """Statistics that could not be matched, the worst first."""
        apart = (balance for balance in self.balances if abs(balance.after) > IMBALANCE)
        return tuple(sorted(apart, key=lambda balance: -abs(balance.after)))

    def card(self) -> dict[str, Any]:
        """What `control.json` holds: no folder of this machine."""
        from dataclasses import asdict

        from clipaudit._version import __version__

        facts = asdict(self)
        del facts["folder"]
        return {
            "format": FORMAT_VERSION,
            "clipaudit_version": __version__,
            "method": METHOD,
            **facts,
            "not_matched": [balance.name for balance in self.imbalances],
        }
