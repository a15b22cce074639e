"""The search head: what turns bags of words into vectors that lie near where meaning is near.

A word's vector is the sum of its features' rows (codebyte/tasks/bag.py). A field of a chunk is the
sum of its words, each weighted for that field, over the length of the weights; a chunk is the sum
of its fields, weighted too; a query is one field. All is learned, from pairs of documentation and
code (codebyte/tasks/contrastive.py).

    head.safetensors   rows, word_weights, field_weights; "vocabulary", the words in order as
                       bytes, a newline after each; how many buckets there are is what is left of
                       the rows, which may be int8 with a scale each (codebyte/quantize.py).
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from codebyte.checkpoint import Undrawn
from codebyte.errors import CheckpointError
from codebyte.quantize import restored, stored
from codebyte.tasks.bag import features
from codebyte.tasks.ragged import SHIFT, WORD, Ragged, Whole

HEAD_NAME = "search_head.safetensors"
FORMAT = "codebyte search head 2"
FIELDS = ("query", "symbol", "signature", "body")

_LARGEST = 1 << 28  # bytes of a tensor in a file that is believed


@dataclass(frozen=True, slots=True)
class Bags:
    """Words of many texts in one field, each word once a text."""

    words: Tensor  # (n,) int64, rows of the matrix of words that goes with it
    counts: Tensor  # (n,) float32
    offsets: Tensor  # (texts + 1,) int64, where each text begins

    @classmethod
    def of(cls, lists: Ragged) -> "Bags":
        """Counts the words of lists."""
        return cls.of_keys(*lists.counted(), len(lists))

    @classmethod
    def of_keys(cls, keys: Whole, counts: Whole, texts: int) -> "Bags":
        """From rising keys (`Ragged.counted`) and how often each occurs."""
        return cls(
            torch.from_numpy(keys & WORD),
            torch.from_numpy(counts.astype(np.float32)),
            torch.from_numpy(np.searchsorted(keys >> SHIFT, np.arange(texts + 1))),
        )


@dataclass(frozen=True, slots=True)
class Featured:
    """The features of words, one word after the other."""

    rows: Tensor  # (n,) int64, of the head's table
    shares: Tensor  # (n,) float32, what each counts: a word of the vocabulary 1, n-grams 1 together
    offsets: Tensor  # (words + 1,) int64
    weighed: Tensor  # (words,) int64, the rows of their weights

    def take(self, words: Tensor) -> "Featured":
        """Some of the words, in the order asked for."""
        starts, lengths = self.offsets[words], self.offsets.diff()[words]
        offsets = F.pad(lengths.cumsum(0), (1, 0))
        places = (starts - offsets[:-1]).repeat_interleave(lengths)
        places += torch.arange(len(places))
        return Featured(self.rows[places], self.shares[places], offsets, self.weighed[words])


class SearchHead(nn.Module):
    """Bags of words to unit vectors."""

    def __init__(self, vocabulary: Sequence[bytes], buckets: int, dim: int) -> None:
        super().__init__()
        self.vocabulary = {text: row for row, text in enumerate(vocabulary)}
        self.buckets, self.dim = buckets, dim
        words = len(self.vocabulary)
        self.rows = nn.Parameter(nn.init.normal_(torch.empty(words + buckets, dim), std=0.5))
        # In logarithms, for each field; the last row is for words outside of the vocabulary.
        self.word_weights = nn.Parameter(torch.zeros(words + 1, len(FIELDS)))
        self.field_weights = nn.Parameter(torch.tensor([1.0, 1.0, 0.5, 1.0]))

    def featured(self, words: Iterable[bytes]) -> Featured:
        """Looks up the features of words."""
        rows: list[int] = []
        shares: list[float] = []
        weighed, offsets = [], [0]
        for word in words:
            found = features(word, self.vocabulary, self.buckets)
            named = sum(row < len(self.vocabulary) for row in found)
            grams = len(found) - named
            rows += found
            shares += [1.0] * named + [1.0 / max(grams, 1)] * grams
            weighed.append(found[0] if named else len(self.vocabulary))
            offsets.append(len(rows))
        whole = [torch.tensor(one, dtype=torch.int64) for one in (rows, offsets, weighed)]
        return Featured(whole[0], torch.tensor(shares), whole[1], whole[2])

    def word_vectors(self, words: Featured) -> Tensor:
        """Vectors of words, (words, dim)."""
        return F.embedding_bag(
            words.rows,
            self.rows,
            words.offsets,
            mode="sum",
            per_sample_weights=words.shares,
            include_last_offset=True,
        )

    def forward(self, fields: Mapping[str, Bags], vectors: Tensor, weights: Tensor) -> Tensor:
        """Unit vectors of texts, (texts, dim); of one without words, zeros.

        Args:
            fields: bags of the same texts by their names in FIELDS.
            vectors: (words, dim), of the words that the bags count by.
            weights: (words, fields), their logarithmic weights.
        """
        summed = [self._field(name, bags, vectors, weights) for name, bags in fields.items()]
        return F.normalize(torch.stack(summed).sum(dim=0), dim=1)

    def _field(self, name: str, bags: Bags, vectors: Tensor, weights: Tensor) -> Tensor:
        place = FIELDS.index(name)
        # A word that stands there often counts at most twice.
        counts = 2 * bags.counts / (1 + bags.counts)
        shares = counts * weights[bags.words, place].exp()
        summed = F.embedding_bag(
            bags.words,
            vectors,
            bags.offsets,
            mode="sum",
            per_sample_weights=shares,
            include_last_offset=True,
        )
        texts = torch.arange(len(summed)).repeat_interleave(bags.offsets.diff())
        lengths = torch.zeros(len(summed)).index_add(0, texts, shares.square())
        pooled = summed / (lengths[:, None] + 1e-6).sqrt()
        return self.field_weights[place] * pooled

    def fingerprint(self) -> str:
        """A few letters that differ when any number or word does."""
        digest = hashlib.sha256(b"\n".join(self.vocabulary))
        for name, weight in sorted(self.state_dict().items()):
            digest.update(name.encode() + weight.float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]


def save_head(head: SearchHead, path: str | os.PathLike[str], *, quantize: bool = True) -> None:
    """Writes a head to one file; a file that was there is replaced when the new one is whole.

    Args:
        head: to be written.
        path: of the file.
        quantize: whether matrices are stored as int8 by rows, a quarter of the size.
    """
    target = Path(path)
    words = b"".join(word + b"\n" for word in head.vocabulary)
    tensors = {"vocabulary": torch.from_numpy(np.frombuffer(words, np.uint8).copy())}
    for name, weight in head.state_dict().items():
        tensors.update(stored(name, weight, "int8" if quantize and name == "rows" else None))
        if quantize and name != "rows":
            tensors[name] = weight.to(torch.float16)
    target.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=target.parent, prefix=target.name, delete=False) as file:
        name = file.name
    try:
        save_file(tensors, name, metadata={"format": FORMAT})
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def load_head(path: str | os.PathLike[str] | None = None) -> SearchHead:
    """Reads a head; the packaged one where no path is given.

    Raises:
        CheckpointError: there is no such file, or it holds no head that can be used.
    """
    place = str(files("codebyte") / "weights" / HEAD_NAME) if path is None else os.fspath(path)
    if not os.path.isfile(place):
        raise CheckpointError(
            f"{place} is missing: fit a search head with python -m codebyte.tasks.fit_heads"
        )
    try:
        with safe_open(place, framework="pt") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise CheckpointError(f"{place} holds no search head of this version: fit it again")
            return _built(file)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{place} cannot be read ({error}): fit the head again") from error


def _built(file: safe_open) -> SearchHead:
    names = {"vocabulary", "rows", "word_weights", "field_weights"}
    if missing := names - set(file.keys()):
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    words = bytes(file.get_tensor("vocabulary").numpy()).split(b"\n")[:-1]
    rows, dim = file.get_slice("rows").get_shape()
    if rows * dim * 4 > _LARGEST or len(words) > rows or len(set(words)) < len(words):
        raise ValueError(f"{rows} rows of {dim} numbers do not go with {len(words)} words")
    with torch.device("meta"), Undrawn():
        head = SearchHead(words, rows - len(words), dim)
    shapes = {name: tuple(weight.shape) for name, weight in head.state_dict().items()}
    weights = {name: restored(name, file.get_tensor) for name in shapes}
    for name, shape in shapes.items():
        if tuple(weights[name].shape) != shape or not weights[name].isfinite().all():
            raise ValueError(f"{name} is not of shape {shape} and finite")
    head.load_state_dict(weights, assign=True)
    return head.requires_grad_(False).eval()
