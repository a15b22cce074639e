"""What a training run shows and keeps: a bar, metrics.jsonl, TensorBoard and a picture."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from codebyte.config import TrainConfig


class Progress:
    """Reports a run; on ranks other than 0 (`shown` False) it does nothing."""

    def __init__(self, folder: Path, config: TrainConfig, step: int, *, shown: bool) -> None:
        self.folder, self.config, self.shown = folder, config, shown
        self.first, self.last = step, step

    def __enter__(self) -> "Progress":
        if not self.shown:
            return self
        from torch.utils.tensorboard import SummaryWriter

        self.folder.mkdir(parents=True, exist_ok=True)
        self._drop_later_lines()
        self.metrics = (self.folder / "metrics.jsonl").open("a", encoding="utf-8")
        self.board: Any = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.first)
        self.bar = tqdm(total=self.config.steps, initial=self.first, unit="step", smoothing=0.1)
        self.moment = time.monotonic()
        return self

    def step(self, step: int, loss: tuple[float, int], rate: float) -> None:
        """One step was done; `loss` is in bits per byte, with the bytes it was over."""
        if not self.shown:
            return
        bits, count = loss
        now = time.monotonic()
        speed = count / (now - self.moment) / 1000
        self.moment, self.last = now, step + 1
        self._write(
            {"step": step, "bits_per_byte": bits, "bytes": count, "rate": rate, "kb_per_s": speed}
        )
        self.board.add_scalar("train/bits_per_byte", bits, step)
        self.board.add_scalar("train/rate", rate, step)
        self.bar.set_postfix_str(f"{bits:.3f} bits/byte, {speed:.1f} KB/s")
        self.bar.update()

    def validation(self, step: int, bits: float, sample: str) -> None:
        """The model was validated after `step` steps."""
        if not self.shown:
            return
        self._write({"step": step, "valid_bits_per_byte": bits, "sample": sample})
        self.board.add_scalar("valid/bits_per_byte", bits, step)
        self.board.add_text("sample", sample, step)
        self.bar.write(f"step {step}: {bits:.4f} bits per byte on validation text")
        self.bar.write("    " + sample.replace("\n", "\n    "))
        self.moment = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.shown:
            return
        self.bar.close()
        self.metrics.close()
        self.board.close()
        draw_curve(self.folder)

    def _write(self, values: dict[str, Any]) -> None:
        self.metrics.write(json.dumps(values) + "\n")
        self.metrics.flush()

    def _drop_later_lines(self) -> None:
        """A run that was killed may have written steps that it has not saved; they come again."""
        path = self.folder / "metrics.jsonl"
        if path.exists():
            kept = [line for line in read_metrics(self.folder) if _done(line) <= self.first]
            path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def _done(line: dict[str, Any]) -> int:
    """How many steps were done when a line was written."""
    return int(line["step"]) + ("bits_per_byte" in line)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl; a last line cut short by a crash is left out."""
    lines = []
    for text in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def draw_curve(folder: Path) -> None:
    """Writes curve.png: bits per byte of training and validation over the bytes seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    seen, train, valid = 0.0, [], []
    for line in read_metrics(folder):
        if "bits_per_byte" in line:
            seen += line["bytes"] / 1e6
            train.append((seen, line["bits_per_byte"]))
        else:
            valid.append((seen, line["valid_bits_per_byte"]))
    if not train:
        return
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(
        *zip(*train, strict=True), linewidth=0.6, alpha=0.6, label="training (with infilling)"
    )
    if valid:
        axes.plot(
            *zip(*valid, strict=True), marker="o", markersize=3, label="validation repositories"
        )
    lowest = min(bits for _, bits in train)
    axes.set(xlabel="MB seen", ylabel="bits per byte", ylim=(max(0.0, lowest - 0.2), 4.0))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / "curve.png", dpi=120)
    pyplot.close(figure)
