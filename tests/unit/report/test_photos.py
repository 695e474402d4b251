"""What the report says of photos, on photos whose figures are known."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from raylike import likeness
from raylike.report import album, judging, photo_map
from raylike.report.account_bootstrap import Draws, estimate
from raylike.report.photo_facts import MAP_SIDE
from raylike.report.scored_photos import ScoredPhotos, percentiles
from raylike.report.traits import traits
from raylike.vision import thumbnails
from raylike.vision.attributes import Attributes, measure
from raylike.vision.decode import Picture

RNG = np.random.default_rng(0)


def scored(scores: NDArray[np.float64], labels: NDArray[np.int_], accounts: object = None) -> ScoredPhotos:
    """Test photos with these scores; those labelled good have more likes."""
    ids = np.array([f"p{i:04d}" for i in range(scores.size)])
    return ScoredPhotos(
        model="a model",
        ids=ids,
        accounts=ids if accounts is None else np.asarray(accounts, str),
        labels=labels.astype(np.int8),
        test=np.ones(scores.size, bool),
        scores=scores,
        probabilities=np.clip(scores, 0.01, 0.99),
        percentile=percentiles(scores),
        liked=percentiles(labels.astype(np.float64)),
    )


def plain(brightness: int) -> Attributes:
    return measure(np.full((20, 20, 3), brightness, np.uint8), np.empty((0, 4)))


def test_percentiles_share_the_middle_of_equals() -> None:
    assert percentiles(np.array([3.0, 1.0, 1.0, 2.0])).tolist() == [87.5, 25.0, 25.0, 62.5]


def test_a_mean_over_accounts_is_wide_where_accounts_differ_and_photos_do_not() -> None:
    values = np.repeat([0.0, 1.0] * 10, 10)
    everybody = np.ones(values.size, bool)
    by_account = estimate(Draws.of(np.repeat(np.arange(20), 10).astype(str), 0).means(values, everybody))
    by_photo = estimate(Draws.of(np.arange(200).astype(str), 0).means(values, everybody))
    assert by_account.value == by_photo.value == 0.5
    assert by_account.high - by_account.low > 2.5 * (by_photo.high - by_photo.low)


def test_nobody_in_a_group_has_no_mean() -> None:
    draws = Draws.of(np.array(["a", "b"]), 0)
    assert np.isnan(estimate(draws.means(np.ones(2), np.zeros(2, bool))).value)


def test_curves_are_scikit_learns() -> None:
    labels = RNG.integers(0, 2, 300)
    scores = np.round(labels + RNG.normal(0, 1.5, 300), 1)  # with ties
    found = judging.judge(scored(scores, labels), [], 0)
    assert found is not None
    (roc,), (curve,) = found.roc, found.precision_recall
    false_positives, true_positives, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert roc.y == pytest.approx(np.interp(roc.x, false_positives, true_positives), abs=1e-4)
    precision, recall, _ = precision_recall_curve(labels, scores)
    for x, y in zip(curve.x, curve.y, strict=True):
        assert y == pytest.approx(precision[recall >= x - 1e-6][-1], abs=1e-4)
    inside = [low <= y <= high for low, y, high in zip(roc.low, roc.y, roc.high, strict=True)]
    assert np.mean(inside) > 0.9


def test_probabilities_that_are_kept_lie_on_the_diagonal_and_beat_chance() -> None:
    probabilities = RNG.uniform(0.05, 0.95, 2000)
    labels = (RNG.uniform(size=2000) < probabilities).astype(int)
    found = judging.judge(scored(probabilities, labels), [], 0)
    assert found is not None
    assert sum(one.n for one in found.calibration) == 2000
    assert all(one.good.low - 0.05 < one.probability < one.good.high + 0.05 for one in found.calibration)
    assert found.brier.high < found.brier_of_chance


def test_one_class_alone_is_not_judged() -> None:
    assert judging.judge(scored(np.arange(5.0), np.ones(5, int)), [], 0) is None


def test_references_are_judged_on_the_photos_that_all_scored() -> None:
    labels = np.arange(40) % 2
    everything = scored(labels + 0.0, labels)
    found = judging.judge(everything, [everything.take(np.arange(30))], 0)
    assert found is not None
    assert found.n == 30


def test_a_model_of_brightness_is_found_out() -> None:
    levels = RNG.integers(20, 230, 300)
    found = traits(scored(levels / 255, levels > 125), [plain(int(v)) for v in levels], 400, 0)
    assert found is not None
    brightness = next(effect for effect in found.effects if effect.attribute == "brightness")
    assert brightness.score.value == pytest.approx(
        200 / 3, abs=3
    )  # middle of upper less middle of lower third
    assert brightness.score.low > 50
    assert brightness.liked.low > 0
    assert (found.n, found.n_labelled, found.groups) == (300, 400, ())
    assert not {"saturation", "border", "face_share"} & {effect.attribute for effect in found.effects}


def test_a_group_that_is_ranked_below_its_likes_shows_a_gap() -> None:
    n_faces = np.repeat([1, 2], 60)
    seen = [measure(np.full((40, 40, 3), 90, np.uint8), np.full((n, 4), 10.0)) for n in n_faces]
    found = traits(scored(np.arange(120.0), np.arange(120) % 2), seen, 120, 0)
    assert found is not None
    gaps = {group.group: group.gap for group in found.groups}
    assert gaps["one"].high < 0 < gaps["two"].low


def test_principal_axes_keep_distances_within_a_plane() -> None:
    plane = RNG.normal(size=(2, 300)).astype(np.float32)
    rows = RNG.normal(size=(40, 2)).astype(np.float32) @ plane + 5
    mean, axes = likeness.principal_axes(rows)
    projected = (rows - mean) @ axes
    assert axes.shape == (300, 2)
    assert np.linalg.norm(projected[0] - projected[1]) == pytest.approx(
        np.linalg.norm(rows[0] - rows[1]), rel=1e-3
    )


def test_the_map_parts_what_differs_and_is_the_same_again() -> None:
    rows = np.repeat(np.eye(3, 8) * 20, 30, axis=0) + RNG.normal(size=(90, 8))
    layout = photo_map.lay_out(rows.astype(np.float32), 0)
    assert layout is not None
    places, _ = layout
    centres = places.reshape(3, 30, 2).mean(axis=1)
    spread = np.linalg.norm(places.reshape(3, 30, 2) - centres[:, None], axis=2).mean()
    apart = min(np.linalg.norm(centres[i] - centres[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert apart > 3 * spread
    assert (places.min(), places.max()) == (0, MAP_SIDE)
    again = photo_map.lay_out(rows.astype(np.float32), 0)
    assert again is not None
    assert np.array_equal(again[0], places)


def test_without_opentsne_scikit_learn_draws_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, float] = {}

    class Asked:
        def __init__(self, **settings: float) -> None:
            told.update(settings)

        def fit_transform(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
            return rows[:, :2]

    monkeypatch.setitem(sys.modules, "openTSNE", None)
    monkeypatch.setattr("sklearn.manifold.TSNE", Asked)
    layout = photo_map.lay_out(np.eye(16, dtype=np.float32), 7)
    assert layout is not None
    assert layout[0].max() == MAP_SIDE
    assert told == {"perplexity": 5.0, "random_state": 7}


def test_a_handful_of_photos_has_no_map() -> None:
    assert photo_map.lay_out(np.eye(5, dtype=np.float32), 0) is None


def test_the_nearest_are_alike_and_of_other_accounts() -> None:
    rows = np.array([[1, 0], [1, 0], [1, 0.1], [0, 1], [-1, 0]], np.float32)
    best, cosines = likeness.nearest(rows, np.array(["a", "a", "b", "c", "d"]), 0, 2)
    assert best.tolist() == [2, 3]
    assert cosines.tolist() == pytest.approx([0.995, 0.0], abs=1e-3)


def test_a_mosaic_leaves_nothing_of_a_face_and_all_of_the_rest() -> None:
    pixels = RNG.integers(0, 256, (100, 100, 3)).astype(np.uint8)
    hidden = thumbnails.hide_faces(Picture(pixels, scale=2.0), np.array([[40.0, 40.0, 60.0, 60.0]]))
    face = hidden.pixels[20:50, 20:50]
    assert len(np.unique(face.reshape(-1, 3), axis=0)) <= thumbnails.MOSAIC_CELLS**2
    assert np.array_equal(hidden.pixels[70:], pixels[70:])
    assert not np.array_equal(pixels[20:50, 20:50], face)


def test_a_box_beyond_the_photo_hides_what_of_it_is_inside() -> None:
    picture = Picture(RNG.integers(0, 256, (50, 50, 3)).astype(np.uint8))
    for box in ([-20.0, -20.0, 40.0, 40.0], [60.0, 60.0, 10.0, 10.0], [10.0, 10.0, 0.0, 0.0]):
        assert thumbnails.hide_faces(picture, np.array([box])).pixels.shape == (50, 50, 3)


def test_tiles_lie_on_the_sheet_in_order() -> None:
    tiles = [np.full((8, 8, 3), value, np.uint8) for value in (0, 120, 240)]
    sheet = cv2.imdecode(np.frombuffer(album.sheet(tiles, 2), np.uint8), cv2.IMREAD_COLOR)
    assert sheet is not None
    assert sheet.shape == (16, 16, 3)
    assert [int(sheet[y, x].mean()) for y, x in ((4, 4), (4, 12), (12, 4))] == pytest.approx(
        [0, 120, 240], abs=3
    )
