"""The demo's data: what people say of real texts, beside the label that their source gave them.

**Movie reviews.** 10,605 snippets with 15 to 29 human ratings each, from -4 to 4 (Hutto and
Gilbert, ICWSM 2014), out of the source archive of vaderSentiment 3.3.2 (MIT), fetched by pip and
pinned by its hash. The source's own label is not in the file: that ids 1 to 5,152 come from
positive reviews and 5,153 to 10,400 from negative ones is inferred from the file's order. The
rest have no label.

**Digits**, where there is no network: scikit-learn's 1,797 handwritten digits. What "people say"
is then what a classifier that had not seen the digit says (out-of-fold probabilities).
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.errors import ConfigurationError

ARCHIVE = "vaderSentiment-3.3.2.tar.gz"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
POSITIVE_TO, NEGATIVE_TO = 5_152, 10_400
_INNER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_FOLDER = "hutto_ICWSM_2014/movieReviewSnippets_"
_DOWNLOAD_S_MAX = 120


@dataclass(frozen=True, slots=True)
class Example:
    """One thing with a label, or none, and what share of its judges says which label."""

    record_id: str
    content: str
    label: str | None
    shares: Mapping[str, float]
    judges: int


@dataclass(frozen=True, slots=True)
class Data:
    """A data set, and what its classes are called later."""

    title: str
    judged_by: str
    classes: tuple[str, ...]
    rename: Mapping[str, str]
    examples: list[Example]


def movie_reviews(cache: Path) -> Data | None:
    """The movie reviews; None when they can't be fetched."""
    archive = cache / ARCHIVE
    if not archive.is_file() and not _download(archive):
        return None
    with tarfile.open(archive) as outer:
        inner = outer.extractfile(_INNER)
        assert inner is not None
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as files:
            texts = _rows(files, "GroundTruth.txt")
            ratings = _rows(files, "anonDataRatings.txt")
    examples = [
        _review(int(text[0]), text[2], json.loads(rating[3]))
        for text, rating in zip(texts, ratings, strict=True)
    ]
    return Data(
        f"{len(examples):,} movie-review snippets",
        "human raters",
        ("positive", "negative"),
        {"positive": "fresh", "negative": "rotten"},
        examples,
    )


def _download(archive: Path) -> bool:
    """Fetch the archive through pip, which checks its hash."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "requirements.txt"
        pinned.write_text(f"vaderSentiment==3.3.2 --hash=sha256:{SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", "vaderSentiment", "--require-hashes"]
        command += ["--dest", folder, "--requirement", str(pinned)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_DOWNLOAD_S_MAX)
        except (subprocess.SubprocessError, OSError):
            return False
        (Path(folder) / ARCHIVE).replace(archive)
    return True


def _rows(files: tarfile.TarFile, name: str) -> list[list[str]]:
    member = files.extractfile(_FOLDER + name)
    assert member is not None
    return [line.split("\t") for line in member.read().decode().splitlines() if line]


def _review(number: int, text: str, ratings: list[int]) -> Example:
    label = None
    if number <= NEGATIVE_TO:
        label = "positive" if number <= POSITIVE_TO else "negative"
    shares = {
        "positive": sum(rating > 0 for rating in ratings) / len(ratings),
        "negative": sum(rating < 0 for rating in ratings) / len(ratings),
    }
    return Example(f"review-{number:05d}", text, label, shares, len(ratings))


def digits() -> Data:
    """The digits, judged by a classifier out of fold."""
    try:
        from sklearn import datasets, linear_model, model_selection
    except ImportError as error:
        raise ConfigurationError(
            "the demo needs a network for its movie reviews, or the extra `demo` for the digits: "
            "pip install 'errata[demo]'"
        ) from error
    sklearn: Any = (datasets, linear_model, model_selection)  # it types its answers in part
    pixels, targets = sklearn[0].load_digits(return_X_y=True)
    classifier = sklearn[1].LogisticRegression(max_iter=200)
    guesses = sklearn[2].cross_val_predict(
        classifier, pixels / 16, targets, cv=3, method="predict_proba"
    )
    examples = [
        Example(
            f"digit-{number:04d}",
            f"scikit-learn digits, image {number}",
            str(target),
            {str(digit): float(share) for digit, share in enumerate(guess)},
            3,
        )
        for number, (target, guess) in enumerate(zip(targets, guesses, strict=True))
    ]
    return Data(
        f"{len(examples):,} handwritten digits (no network: the bundled data)",
        "a classifier, out of fold",
        tuple(str(digit) for digit in range(10)),
        {"0": "zero"},
        examples,
    )
