"""From a list of repositories to the packaged model and its card, in steps that can be resumed.

    corpus      the training text, by the recipe of tasks/mixture.py
    train       at full rate, until the hours are spent; Ctrl-C saves, the next call goes on
    decay       a copy of that run, with rates falling to nothing
    pack        as int8 into codebyte/weights, after measuring what that costs
    fit         what is fitted on top of a model
    measure     every benchmark, one after the other
    card        the figures of docs/model.md

Everything is kept in the work folder; a step that is done is not done again unless --only names it.
Training goes in two processes of one thread, which does 45 % more than one process of two.
"""

import argparse
import json
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from codebyte import checkpoint
from codebyte.corpus import Corpus, write_corpus
from codebyte.errors import CodebyteError
from codebyte.tasks.mixture import in_mirror, mixture, read_sources

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "codebyte" / "weights"
SOURCES = ROOT / "scripts" / "corpus.csv"
STEPS = ("corpus", "train", "decay", "pack", "fit", "measure", "card")
BATCH = 32768  # bytes
# Rows grow with training: (share of the hours up to which, bytes in a row).
LENGTHS = ((0.6, 4096), (1.0, 8192))
DECAY = 0.28  # share of all steps
LARGEST = 30_000_000  # bytes of the packaged file
COST_OF_PACKING = 0.005  # bits per byte that int8 may cost
CHECKED_ROWS = 32
CARD = ROOT / "docs" / "model.md"
FITTED: tuple[tuple[str, ...], ...] = (
    (
        "-m",
        "codebyte.mixer_fit",
        "--corpus",
        "{work}/corpus",
        "--out",
        "{weights}/mixer.safetensors",
    ),
    (
        "benchmarks/fit_scan.py",
        "--corpus",
        "{work}/corpus",
        "--repos",
        "{mirror}",
        "--files",
        "2800",
    ),
)
# Those that ask the model; the search head is the same for all models.
MEASURED: dict[str, tuple[str, ...]] = {
    "bits_per_byte": ("--corpus", "{work}/corpus"),
    "context_mixing": ("--corpus", "{work}/corpus"),
    "completion": ("--corpus", "{work}/corpus"),
    "infilling": ("--data", "{mirror}/openai+human-eval-infilling/data"),
    "mixing": ("--corpus", "{work}/corpus"),
    "adapt": ("--corpus", "{work}/corpus", "--repos", "{flask}"),
    "scan": ("--corpus", "{work}/corpus", "--repos", "{mirror}"),
    "payloads": ("--repos", "{flask}", "{celery}"),
    "decode": (),
    "ghost_latency": (),
    "serve": (),
    "train_throughput": (),
}


def main() -> int:
    """Runs the command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/release", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder that everything is kept in"
    )
    parser.add_argument("--mirror", type=Path, help="clones named owner+name (default: clone)")
    parser.add_argument("--hours", type=float, default=6.0, help="of training at full rate")
    parser.add_argument("--segment", type=float, help="stop training after so many minutes")
    parser.add_argument("--processes", type=int, default=2, help="that train together")
    parser.add_argument("--preset", default="small")
    parser.add_argument(
        "--start", help="checkpoint to go on from ('packaged'), grown to the preset"
    )
    parser.add_argument("--name", default="codebyte-small", help="of the model, for its notes")
    parser.add_argument("--only", choices=STEPS, help="this step alone, done or not")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    try:
        for step in STEPS:
            if step == args.only or (args.only is None and not _done(args.work, step)):
                print(f"release: {step}", flush=True)
                if not globals()[step](args):
                    print(f"release: {step} is not finished; call again to go on")
                    return 0
                (args.work / f"{step}.done").touch()
    except CodebyteError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"release: {' '.join(map(str, error.cmd))} failed", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("release: interrupted; call again to go on", file=sys.stderr)
        return 130
    return 0


def corpus(args: argparse.Namespace) -> bool:
    """Writes the training text."""
    sources = read_sources(SOURCES)
    skips: Counter[str] = Counter()
    failures: dict[str, str] = {}
    info = write_corpus(
        mixture(sources, args.mirror, skips=skips, failures=failures),
        args.work / "corpus",
        valid={source.name for source in sources if source.split == "valid"},
        dedup=False,  # the mixture has none
        skips=skips,
        failures=failures,
    )
    print(json.dumps({split: info[split]["bytes"] for split in ("train", "valid")}), failures or "")
    return not failures


def train(args: argparse.Namespace) -> bool:
    """Trains at full rate; True once the hours are spent."""
    run = args.work / "run"
    for share, length in LENGTHS:
        until = 60 * args.hours * share
        wanted = until - _minutes(run)
        if wanted > 1:
            minutes = min(wanted, args.segment or wanted)
            _train(args, run, length, minutes=minutes, steps=10**9, decay=0.0)
            if args.segment or _minutes(run) < until - 1:  # enough for now, or interrupted
                return _minutes(run) >= 60 * args.hours - 1
    return True


def decay(args: argparse.Namespace) -> bool:
    """Takes the rates to nothing on a copy of the run, which itself can go on."""
    run, decayed = args.work / "run", args.work / "decayed"
    if not (decayed / "latest").is_dir():
        fresh = args.work / "decayed.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(run, fresh)
        fresh.rename(decayed)
    at = int(json.loads((run / "latest" / "run.json").read_text())["step"])
    steps = round(at / (1 - DECAY))
    _train(args, decayed, LENGTHS[-1][1], steps=steps, decay=(steps - at) / steps)
    return int(json.loads((decayed / "latest" / "run.json").read_text())["step"]) == steps


def pack(args: argparse.Namespace) -> bool:
    """Writes the packaged model, if int8 costs little and the file is small enough."""
    model = checkpoint.load(args.work / "decayed" / "latest", "cpu")
    notes = checkpoint.load_training(args.work / "decayed" / "latest")
    packed = args.work / "packed"
    notes |= {
        "name": args.name,
        "started_from": args.start,
        "minutes": round(_minutes(args.work / "decayed")),
        "batch": BATCH,
    }
    checkpoint.save(model, packed, quantize="int8", training=notes)
    text = Corpus(args.work / "corpus")
    cost = _bits(checkpoint.load(packed, "cpu"), text) - _bits(model, text)
    size = (packed / checkpoint.WEIGHTS_NAME).stat().st_size
    print(f"int8 costs {cost:.5f} bits per byte; the file has {size / 1e6:.1f} MB")
    if cost > COST_OF_PACKING or size > LARGEST:
        return False
    for name in (checkpoint.WEIGHTS_NAME, checkpoint.CONFIG_NAME):
        shutil.copyfile(packed / name, WEIGHTS / name)
    return True


def fit(args: argparse.Namespace) -> bool:
    """Fits what rests on the model's states and bits."""
    if args.mirror is None:
        raise CodebyteError(
            "fitting reads the histories of repositories: give a --mirror of clones"
        )
    for command in FITTED:
        subprocess.run([sys.executable, *_filled(command, args)], check=True, cwd=ROOT)
    return True


def measure(args: argparse.Namespace) -> bool:
    """Runs the benchmarks that have not been run; each leaves its JSON object."""
    figures = args.work / "figures"
    figures.mkdir(exist_ok=True)
    for name, options in MEASURED.items():
        file = figures / f"{name}.json"
        filled = _filled(options, args)
        absent = [it for it in filled if not it.startswith("-") and not Path(it).exists()]
        if absent:
            print(f"release: {name} is left out: {absent[0]} is not there")
        elif not file.exists():
            command = [sys.executable, f"benchmarks/{name}.py", *filled]
            done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            print(done.stdout, flush=True)
            file.write_text(done.stdout.strip().rpartition("\n")[2] + "\n")
    return True


def card(args: argparse.Namespace) -> bool:
    """Puts recipe and figures between the marks that docs/model.md has for them."""
    figures = {
        file.stem: json.loads(file.read_text()) for file in (args.work / "figures").glob("*.json")
    }
    notes = checkpoint.load_training()
    text = CARD.read_text()
    for name, lines in {
        "recipe": [f"- {key}: {value}" for key, value in sorted(notes.items())],
        "bars": _bars(figures),
    }.items():
        pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
        block = "\n".join(lines) + "\n"
        text = re.sub(pattern, lambda found, b=block: found[1] + b + found[2], text, flags=re.S)
    fresh = CARD.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(CARD)
    return True


def _bars(figures: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["| benchmark | figure | value | bar | |", "| --- | --- | --- | --- | --- |"]
    for name, result in sorted(figures.items()):
        for what, check in result["checks"].items():
            sign, verdict = (
                "<=" if check["at_most"] else ">=",
                "met" if check["passed"] else "missed",
            )
            lines.append(
                f"| `{name}.py` | {what} | {check['value']} | {sign} {check['bar']} | {verdict} |"
            )
    return lines


def _filled(command: Sequence[str], args: argparse.Namespace) -> list[str]:
    """A command with the folders in their places."""
    mirror = (args.mirror or args.work / "clones").resolve()
    places = {"work": args.work.resolve(), "mirror": mirror, "weights": WEIGHTS}
    for name in ("pallets/flask", "celery/celery"):
        places[name.partition("/")[2]] = in_mirror(mirror, name)
    return [part.format(**places) for part in command]


def _train(
    args: argparse.Namespace,
    run: Path,
    length: int,
    *,
    steps: int,
    decay: float,
    minutes: float | None = None,
) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launch, "--nproc-per-node", str(args.processes), str(ROOT / "train_code.py")]
    command += ["--corpus", str(args.work / "corpus"), "--out", str(run), "--preset", args.preset]
    command += ["--rows", str(BATCH // length), "--length", str(length), "--threads", "1"]
    command += ["--steps", str(steps), "--decay", str(decay)]
    if minutes is not None:
        command += ["--minutes", str(minutes)]
    if (run / "latest").is_dir():
        command.append("--resume")
    elif args.start:
        command += ["--checkpoint", args.start, "--grow"]
    with subprocess.Popen(command) as training:
        try:
            status = training.wait()
        except KeyboardInterrupt:  # which it got, too: it saves
            training.wait()
            raise
    if status:
        raise subprocess.CalledProcessError(status, command)


def _minutes(run: Path) -> float:
    """How long a run's steps took, from its metrics."""
    total = 0.0
    if (run / "metrics.jsonl").exists():
        for line in (run / "metrics.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if "kb_per_s" in entry:
                total += entry["bytes"] / 1000 / entry["kb_per_s"]
    return total / 60


@torch.inference_mode()
def _bits(model: torch.nn.Module, text: Corpus) -> float:
    nats, count = 0.0, 0
    for step in range(CHECKED_ROWS // 4):
        batch = text.batch("valid", step, seed=1, rows=4, length=4096)
        ids = torch.from_numpy(batch.astype("int64"))
        nats += float(model.losses(ids).sum())
        count += int((ids < 256).sum())
    return nats / count / math.log(2)


def _done(work: Path, step: str) -> bool:
    return (work / f"{step}.done").exists()


if __name__ == "__main__":
    sys.exit(main())
