"""A trained network as files that outlive the run: weights, what they mean, a card for people, ONNX."""
