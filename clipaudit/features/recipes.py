"""Which views an encoder was trained with, as far as that is published.

Views give members away where the encoder's own training made such views: an encoder that saw
random crops of 0.9 to 1.0 alone was never taught that a recoloured picture is the same one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clipaudit.features.views import CLIP, DINO, DINOV2, ENCODERMI, MAE

AUTO = "auto"
"""What chooses the recipe by what is published of the encoder."""


@dataclass(frozen=True, slots=True)
class TrainingViews:
    """What is published of the views in an encoder's training.

    Attributes:
        recipe: The recipe that is nearest to them; None where nothing is known.
        about: What is known, to follow "because".
        source: Where that is written; empty where nothing is known.
    """

    recipe: str | None
    about: str
    source: str = ""


_KNOWN: tuple[tuple[str, TrainingViews], ...] = (
    (
        r"siglip",
        TrainingViews(None, "how SigLIP's training cropped its pictures is not published"),
    ),
    (
        r"dinov2",
        TrainingViews(
            DINOV2.id,
            "DINOv2 was trained between crops of one picture that were recoloured and blurred",
            'Oquab et al., "DINOv2" (2023)',
        ),
    ),
    (
        r"dino",
        TrainingViews(
            DINO.id,
            "DINO was trained between crops of one picture that were recoloured and blurred",
            'Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (2021)',
        ),
    ),
    (
        r"(^|[^a-z])mae([^a-z]|$)",
        TrainingViews(
            MAE.id,
            "a masked autoencoder saw crops and mirrored pictures, and no other changes",
            'He et al., "Masked Autoencoders Are Scalable Vision Learners" (2022)',
        ),
    ),
)
"""A pattern that is looked for in the name of the encoder → what is known of it."""

_TRAINED_AS_CLIP = TrainingViews(
    CLIP.id,
    "it was trained on pictures with captions, and random crops are all that this training "
    "changes in a picture",
    'Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" '
    "(2021); open_clip's AugmentationCfg",
)
_UNKNOWN = TrainingViews(None, "nothing is published of the views in its training")
_BETWEEN_VIEWS = TrainingViews(
    ENCODERMI.id, "it was trained between views of one picture", "its own card"
)


def training_views(spec: str, *, has_text: bool) -> TrainingViews:
    """What is published of the views that an encoder was trained with.

    >>> training_views("ViT-B-32/openai", has_text=True).recipe
    'clip@1'
    >>> training_views("timm:vit_small_patch14_dinov2.lvd142m", has_text=False).recipe
    'dinov2@1'
    >>> training_views("ViT-B-16-SigLIP/webli", has_text=True).recipe is None
    True

    Args:
        spec: The encoder, as it is named on the command line.
        has_text: Whether it was trained with captions.
    """
    if spec.startswith("shadow:"):
        return _BETWEEN_VIEWS
    for pattern, views in _KNOWN:
        if re.search(pattern, spec.lower()):
            return views
    return _TRAINED_AS_CLIP if has_text else _UNKNOWN
