"""The stages by name, in order, with a line on each: enough for help texts and typing errors.

Imports nothing, so that `raylike --help` waits for nothing. What a stage reads, writes and runs is in
`pipeline.py`.
"""

from __future__ import annotations

STAGES: dict[str, str] = {
    "collect": "Collect the posts with a tag that are old enough",
    "followers": "Look up how many followers their accounts have",
    "cohort": "Keep accounts of ordinary size (median deviation)",
    "download": "Fetch the photos",
    "faces": "Find faces, with a confidence for each",
    "labels": "Call photos good or bad; choose folds and test set",
    "features": "Compute what a network sees in every photo: AlexNet's fc6, fc7",
    "classify": "Fit and score linear SVM, random forest, SVM by SGD",
    "finetune": "Fine-tune the network with Ray Train",
    "tune": "Search the settings of fine-tuning with Ray Tune",
    "rank": "Rank the test photos from best to worst",
    "report": "Write the page with all figures and galleries",
}
"""Stage name -> what it does, in the order in which they run."""

STAGE_NAMES: tuple[str, ...] = tuple(STAGES)
