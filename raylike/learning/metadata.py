"""The baseline that never looks at the photo: followers, time of posting, tags, caption, file size.

A model of the pixels that does no better than this has learned nothing of looks. Knows the columns;
knows nothing of where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from raylike.learning.calendar import hour_and_weekday
from raylike.learning.photos import Photos

MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class Metadata:
    """What is known of n photos beside their pixels; every array of shape (n,).

    Attributes
    ----------
    followers : count
    posted_s : Unix seconds, UTC
    n_tags : count
    caption_length : characters
    byte_size : of the file as served
    """

    followers: NDArray[np.int64]
    posted_s: NDArray[np.float64]
    n_tags: NDArray[np.int64]
    caption_length: NDArray[np.int64]
    byte_size: NDArray[np.int64]

    def features(self) -> NDArray[np.float64]:
        """A row of 13 numbers for each photo: counts as logarithms, the hour as a point on a circle,
        the weekday as one of seven columns."""
        counts = [self.followers, self.n_tags, self.caption_length, self.byte_size]
        return np.column_stack([*map(np.log1p, counts), hour_and_weekday(self.posted_s)])


def fit_and_score(photos: Photos, metadata: Metadata) -> NDArray[np.float64]:
    """Logistic regression on standardised metadata: the probability of being good, shape (n,).

    Training photos are scored out of fold; test photos by a model of all training photos.
    """
    features = metadata.features()
    scores = np.empty(photos.labels.size)
    for fold in photos.fold_numbers:
        held_out = np.flatnonzero(photos.folds == fold)
        scores[held_out] = _fit_predict(
            features, photos.labels, np.setdiff1d(photos.train, held_out), held_out
        )
    scores[photos.test] = _fit_predict(features, photos.labels, photos.train, photos.test)
    return scores


def _fit_predict(
    features: NDArray[np.float64],
    labels: NDArray[np.int8],
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
) -> NDArray[np.float64]:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    model.fit(features[train], labels[train])
    probability: NDArray[np.float64] = model.predict_proba(features[held_out])[:, 1]
    return probability
