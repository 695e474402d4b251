"""What a photo is worth that no table knows: its score, what made it, and its best crop.

    sources.py      files, folders and addresses become bytes, or a reason why not
    models.py       the model that a workspace keeps, ready to score pixels
    scorer.py       bytes become `PhotoScore`s
    influence.py    which parts of a photo raised and lowered its score
    windows.py      crops that keep the faces
    picture.py      the same drawn on the photo
    results.py      what was found out, as values and as JSON

Knows neither Ray nor the command line; `serving/` and `cli/commands/score.py` stand on it.
"""
