"""What training at scale costs on paper: the tables of docs/scaling.md.

Nothing is measured here. Parameters are counted on models built without memory; operations, memory
and hours follow from the formulas of codebyte/costs.py, with the share of a processor's peak and
the price of its hour as stated (--peak, --share, --price).
"""

from report import Check, Report, parser

from codebyte.config import ModelConfig
from codebyte.costs import (
    Cluster,
    activation_bytes,
    flops_per_byte,
    num_parameters,
    training_bytes,
)
from codebyte.presets import PRESETS

BILLION = 1e9  # parameters of the largest preset: the bar
PLANS = (  # preset, processors, bytes of text
    ("base", 1, 5e9),
    ("base", 8, 50e9),
    ("medium", 8, 20e9),
    ("large", 8, 40e9),
    ("large", 64, 400e9),
    ("large", 256, 1e12),
)
ROWS = 8  # of the preset's context that a processor works on at once


def main() -> None:
    """Prints the tables."""
    options = parser(__doc__)
    options.add_argument("--peak", type=float, default=Cluster().peak, help="operations a second")
    options.add_argument("--share", type=float, default=Cluster().share, help="of it reached")
    options.add_argument("--price", type=float, default=Cluster().price, help="of an hour")
    args = options.parse_args()
    report = Report("scaling", quick=args.quick)
    report.table(
        ["preset", "M parameters", "M in tables", "MFLOP/byte", "GB of state", "KB kept per byte"],
        [
            [
                name,
                num_parameters(config) / 1e6,
                in_tables(config) / 1e6,
                flops_per_byte(config) / 1e6,
                training_bytes(config) / 1e9,
                activation_bytes(config, number=2) / 1e3,
            ]
            for name, config in PRESETS.items()
        ],
    )
    rows = []
    for name, processors, num_bytes in PLANS:
        config = PRESETS[name]
        cluster = Cluster(processors=processors, peak=args.peak, share=args.share, price=args.price)
        held = ROWS * config.context
        rows.append(
            [
                name,
                processors,
                num_bytes / 1e9,
                cluster.memory(config, held, shared=False) / 1e9,
                cluster.memory(config, held, shared=True) / 1e9,
                cluster.hours(config, num_bytes),
                cluster.cost(config, num_bytes),
            ]
        )
    head = ["preset", "processors", "GB of text", "GB whole", "GB shared out", "hours", "cost"]
    report.table(head, rows)
    largest = max(num_parameters(config) for config in PRESETS.values())
    report.finish(
        {"parameters of the largest preset": Check(largest, BILLION)},
        unit="parameters",
        spread=[largest, largest],
        plans=[dict(zip(head, row, strict=True)) for row in rows],
    )


def in_tables(config: ModelConfig) -> int:
    """Numbers of the n-gram tables, which are looked up and not multiplied."""
    return len(config.ngrams) * config.ngram_buckets * config.ngram_dim


if __name__ == "__main__":
    main()
