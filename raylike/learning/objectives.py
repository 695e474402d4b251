"""What a network's outputs are held against: labels, which photo of a pair is liked more, or residuals.

Knows torch. Knows nothing of networks or photos.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from raylike.config import FinetuneSettings


def loss(outputs: Tensor, targets: Tensor, settings: FinetuneSettings) -> Tensor:
    """The mean loss of a batch.

    - labels: cross-entropy of two outputs, smoothed by `label_smoothing`.
    - pairs: logistic loss of the difference of two scores, the better photo's first: -log P(it wins), after
      Bradley and Terry; Ding, Ma and Wang, ACM MM 2019, train a siamese network so.
    - residual: half the squared difference from the target.

    Parameters
    ----------
    outputs : (b, 2), or (b, 1) for pairs and residual; pairs lie one after the other
    targets : int64 labels or float32 residuals, (b,)
    """
    if settings.objective == "pairs":
        scores = outputs[:, 0]
        return functional.softplus(scores[1::2] - scores[0::2]).mean()
    if settings.objective == "residual":
        return functional.mse_loss(outputs[:, 0], targets) / 2
    return functional.cross_entropy(outputs, targets, label_smoothing=settings.label_smoothing)


def score(outputs: Tensor) -> Tensor:
    """How good each photo is, (b,): the difference of two logits, or the one output."""
    return outputs[:, -1] - (outputs[:, 0] if outputs.shape[1] > 1 else 0)
