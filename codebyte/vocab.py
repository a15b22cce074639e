"""The ids a model reads and writes: 0 to 255 are the bytes themselves, specials come after.

Text can never spell a special. Specials are never sampled into output; EOT ends it. PAD is a mask:
NUL is data.
"""

NUM_BYTES = 256

EOT = 256  # end of a document; the implied start of every row, too
FIM_PREFIX = 257
FIM_SUFFIX = 258
FIM_MIDDLE = 259
PAD = 260  # never predicted, never counted in a loss
FILE = 261  # FILE path newline: a document's path, before the document
REPO = 262  # reserved for a repository's name

VOCAB_SIZE = 272  # 263 to 271 are spare; a multiple of 16 suits matrix kernels

SPECIALS = {
    EOT: "EOT",
    FIM_PREFIX: "FIM_PREFIX",
    FIM_SUFFIX: "FIM_SUFFIX",
    FIM_MIDDLE: "FIM_MIDDLE",
    PAD: "PAD",
    FILE: "FILE",
    REPO: "REPO",
}
