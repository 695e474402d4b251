"""Backbones: the layers are torchvision's, random weights keep their scale, downloads are checked."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from raylike.errors import ConfigError, ServiceUnavailable
from raylike.vision import alexnet, crops, loading, weight_files
from raylike.vision.backbones import Backbone
from raylike.vision.networks import FeatureExtractor, Normalise, build
from tests.pictures import photo


@pytest.fixture(scope="module")
def network() -> Backbone:
    return loading.load("alexnet", "random", seed=1, allow_random=False)


@pytest.fixture(scope="module")
def photos() -> torch.Tensor:
    seen = [crops.preprocess(photo(320, 240, shade)) for shade in (0, 30, 60)]
    return torch.from_numpy(np.stack([pixels for pixels in seen if pixels is not None]))


def test_the_layers_are_torchvisions(network: Backbone, photos: torch.Tensor) -> None:
    models = pytest.importorskip("torchvision.models")
    theirs = models.alexnet(weights=None).eval()
    theirs.load_state_dict({name: torch.from_numpy(values) for name, values in network.state.items()})
    with torch.inference_mode():
        pixels = Normalise(network.framing)(photos)
        torch.testing.assert_close(build(network).eval()(pixels), theirs(pixels))
        fc6 = theirs.classifier[:3](theirs.avgpool(theirs.features(pixels)).flatten(1))
        ours = FeatureExtractor(network)(photos)
        torch.testing.assert_close(ours[0], fc6, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours[1], theirs.classifier[3:6](fc6), rtol=1e-4, atol=1e-4)


def test_features_are_not_negative_and_4096_wide(network: Backbone, photos: torch.Tensor) -> None:
    for layer in FeatureExtractor(network)(photos):
        assert layer.shape == (3, 4096)
        assert layer.dtype == torch.float32
        assert layer.min() >= 0


def test_random_weights_keep_the_scale_of_activations(network: Backbone, photos: torch.Tensor) -> None:
    with torch.inference_mode():
        pixels = Normalise(network.framing)(photos)
        activations = build(network).eval()[:3](pixels)
    assert 0.2 < float(activations.square().mean() / pixels.square().mean()) < 5


def test_random_weights_follow_from_the_seed_alone() -> None:
    layers = {name: alexnet.SHAPES[name] for name in ("features.0", "features.3")}
    np.random.seed(5)
    first = alexnet.random_state(layers, 3)
    np.random.seed(6)
    second, third = alexnet.random_state(layers, 3), alexnet.random_state(layers, 4)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["features.0.weight"], third["features.0.weight"])


@pytest.mark.parametrize("n", [1, 3, 17, 33])
def test_a_photos_features_do_not_depend_on_its_company(network: Backbone, n: int) -> None:
    photos = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (40, 224, 224, 3), np.uint8))
    extract = FeatureExtractor(network)
    with torch.inference_mode():
        for many, few in zip(extract(photos), extract(photos[:n]), strict=True):
            assert torch.equal(many[:n], few)


def test_building_shares_the_arrays(network: Backbone) -> None:
    built = build(network)[0][0].weight.detach().numpy()
    assert np.shares_memory(built, network.state["features.0.weight"])


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ConfigError, match="lenet"):
        loading.choose("lenet", "random", allow_random=True)


class Unreachable(http.server.BaseHTTPRequestHandler):
    """Answers every request with a few bytes that are no weights."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"weights")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Unreachable)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def test_the_folder_is_torchs(torch_home: Path) -> None:
    assert weight_files.folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_a_download_is_checked_kept_and_not_repeated(torch_home: Path, server: str) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    path = weight_files.fetch(weight_files.WeightFile(f"{server}/net.pth", digest[:8]))
    assert path.read_bytes() == b"weights"
    again = weight_files.WeightFile("http://127.0.0.1:9/net.pth", digest[:8])  # nothing listens there
    assert weight_files.fetch(again) == path


def test_a_file_with_another_hash_is_refused_and_not_kept(torch_home: Path, server: str) -> None:
    with pytest.raises(OSError, match="SHA-256"):
        weight_files.fetch(weight_files.WeightFile(f"{server}/net.pth", "00000000"))
    assert list(weight_files.folder().iterdir()) == []


@pytest.fixture
def offline(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = weight_files.WeightFile("http://127.0.0.1:9/alexnet.pth", "7be5be79")
    monkeypatch.setattr(alexnet, "FILE", nowhere)


@pytest.mark.usefixtures("offline")
def test_offline_random_weights_are_used_only_if_allowed() -> None:
    choice = loading.choose("alexnet", "imagenet", allow_random=True)
    assert choice.weights == "random"
    assert "random weights" in choice.note
    with pytest.raises(ServiceUnavailable, match="cannot be had"):
        loading.choose("alexnet", "imagenet", allow_random=False)


@pytest.mark.parametrize(("width", "height"), [(640, 640), (640, 320), (300, 1200), (100, 80)])
def test_the_network_sees_the_central_square(width: int, height: int) -> None:
    pixels = crops.preprocess(photo(width, height))
    assert pixels is not None
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8


def test_a_broken_photo_has_no_pixels() -> None:
    assert crops.preprocess(b"no photo") is None
