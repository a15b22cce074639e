import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codebyte.config import LevelConfig, ModelConfig, SamplingParams
from codebyte.errors import ConfigError, InputError
from codebyte.presets import PRESETS
from codebyte.scoring import surprisal
from codebyte.variants import Autoencoder, Seq2Seq
from codebyte.vocab import EOT, PAD


@pytest.fixture
def seq2seq() -> Seq2Seq:
    return random_seq2seq(PRESETS["tiny"])


def random_seq2seq(config: ModelConfig) -> Seq2Seq:
    torch.manual_seed(1)
    model = Seq2Seq(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return model.eval()


def ids(text: bytes) -> torch.Tensor:
    return torch.tensor([list(text)], dtype=torch.int64)


def padded(texts: list[bytes]) -> torch.Tensor:
    rows = [ids(text)[0] for text in texts]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def test_the_documented_use_runs_and_gives_what_it_says() -> None:
    text = (Path(__file__).parent.parent / "docs" / "variants.md").read_text()
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(code, names)
        if "wanted" in names and "bits" not in names:
            names["bits"] = surprisal(names["model"], names["given"] + names["wanted"])
    wanted = names["bits"][-len(names["wanted"]) :].mean() * math.log(2)
    assert float(names["loss"].detach()) == pytest.approx(float(wanted), rel=1e-3)
    assert len(names["written"]) <= 40
    assert (names["codes"].shape, names["again"].shape) == ((1, 2, 8), (1, 16))


def test_every_target_byte_sees_the_whole_source_and_no_later_target_byte(seq2seq: Seq2Seq) -> None:
    before = seq2seq(ids(b"one source"), ids(b"a target"))
    other_source = seq2seq(ids(b"one sourcf"), ids(b"a target"))
    assert (other_source - before).abs().amax(dim=-1).min() > 1e-5
    other_target = seq2seq(ids(b"one source"), ids(b"a tarXet"))
    torch.testing.assert_close(other_target[:, :6], before[:, :6], rtol=0, atol=1e-5)
    assert (other_target - before)[:, 6].abs().max() > 1e-4


def test_a_target_fed_byte_by_byte_has_the_logits_of_the_whole(seq2seq: Seq2Seq) -> None:
    source, target = ids(b"def f(x): return x"), ids(b"the same, again")
    whole = seq2seq(source, target)
    state = seq2seq.init_state(source)
    torch.testing.assert_close(state.logits, whole[:, 0], rtol=0, atol=1e-4)
    with torch.inference_mode():
        for i in range(target.shape[1]):
            found = seq2seq.decoder.step(target[:, i : i + 1], state)
            torch.testing.assert_close(found[:, 0], whole[:, i + 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("patching", ["word", "fixed"])
def test_a_row_among_others_of_other_lengths_is_as_it_is_alone(patching: str) -> None:
    model = random_seq2seq(replace(PRESETS["tiny"], patching=patching))
    sources = [b"def f(x): return x", b"", b"as long as first:)", b"longest.of(all) = [1, 2, 3]"]
    targets = [b"the same, again", b"to this", b"to that", b"x"]
    together = padded(sources), padded(targets)
    whole, state = model(*together), model.init_state(together[0])
    total = torch.zeros(())
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        alone = ids(source).reshape(1, -1), ids(target)
        logits = model(*alone)
        wanted = whole[row : row + 1, : logits.shape[1]]
        torch.testing.assert_close(wanted, logits, rtol=0, atol=1e-4)
        torch.testing.assert_close(state.logits[row], logits[0, 0], rtol=0, atol=1e-4)
        total += len(target) * model.loss(*alone)
    mean = total / sum(map(len, targets))
    torch.testing.assert_close(model.loss(*together), mean, rtol=1e-4, atol=0)


def test_a_source_goes_where_the_model_is() -> None:
    model = random_seq2seq(PRESETS["tiny"]).to("meta")  # stands for a GPU
    ended, length = model._ended(ids(b"def f(x):"))
    assert (ended.device.type, length.device.type) == ("meta", "meta")
    squeezing = Autoencoder(LevelConfig(dim=32, head_dim=16, layers=1), code=8).to("meta")
    assert squeezing.loss(ids(b"def f(x): return")).device.type == "meta"


def test_a_target_sees_what_followed_its_last_bytes_in_the_source() -> None:
    torch.manual_seed(1)
    config = replace(PRESETS["tiny"], ngrams=(), match_words=(), matches=(4,))
    model = Seq2Seq(config).eval()
    with torch.no_grad():  # so that nothing but the byte level's matches can tell of the source
        model.to_memory.weight.zero_()
    target = ids(b"we sort the ")
    before = model(ids(b"to sort the rows"), target)
    after = model(ids(b"to sort the cows"), target)
    changed = (after - before).abs().amax(dim=-1)[0]
    assert changed[-1] > 1e-3  # after "the ", where one source has an r and the other a c
    assert changed[:-1].max() < 1e-6


def test_a_source_that_fills_the_context_is_refused_and_a_long_one_shortens_the_target(
    seq2seq: Seq2Seq,
) -> None:
    wanted = SamplingParams(max_new_bytes=100, temperature=1.0, seed=1)
    written = b"".join(seq2seq.generate(b"x" * 100, wanted))
    assert len(written) <= seq2seq.config.context - 103
    with pytest.raises(InputError, match="a source of 126 bytes leaves no room in a context of"):
        next(seq2seq.generate(b"x" * 126, wanted))


def test_every_weight_that_bears_on_the_target_is_trained(seq2seq: Seq2Seq) -> None:
    seq2seq.train().loss(ids(b"some longer source"), ids(b"some longer target")).backward()
    without = {name for name, p in seq2seq.named_parameters() if p.grad is None}
    # what the encoder's trunk would give back to its bytes
    assert without == {"encoder.levels.from_patch.weight", "encoder.levels.place.weight"}


def test_it_learns_to_answer_by_the_source() -> None:
    torch.manual_seed(1)
    model = Seq2Seq(replace(PRESETS["tiny"], matches=()))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    pairs = {b"sun": b"warm", b"ice": b"cold", b"sea": b"wet!"}
    source = torch.cat([ids(text) for text in pairs])
    target = torch.cat([torch.tensor([[*text, EOT]]) for text in pairs.values()])
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(source, target).backward()
        optimizer.step()
    written = {
        text: b"".join(model.generate(text, SamplingParams(max_new_bytes=8))) for text in pairs
    }
    assert written == pairs


def test_seq2seq_needs_two_levels_of_the_context_wiring() -> None:
    with pytest.raises(ConfigError, match="with 1 levels cannot hold a memory"):
        Seq2Seq(replace(PRESETS["tiny"], levels=PRESETS["tiny"].levels[1:]))


def test_a_code_depends_on_its_own_patch_alone_and_the_bytes_on_their_code_alone() -> None:
    torch.manual_seed(1)
    model = Autoencoder(LevelConfig(dim=32, head_dim=16, layers=1, patch_size=4), code=8).eval()
    first, second = ids(b"abcdefgh"), ids(b"abcdefgX")
    codes, others = model.encode(first), model.encode(second)
    torch.testing.assert_close(codes[:, 0], others[:, 0], rtol=0, atol=1e-6)
    assert (codes[:, 1] - others[:, 1]).abs().max() > 1e-4
    logits = model.decode(codes)
    torch.testing.assert_close(model.decode(codes[:, 1:]), logits[:, 4:], rtol=0, atol=1e-5)


def test_an_autoencoder_learns_to_write_its_patches_again() -> None:
    torch.manual_seed(1)
    model = Autoencoder(LevelConfig(dim=32, head_dim=16, layers=1, patch_size=4), code=8)
    text = torch.randint(97, 105, (32, 16), generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(text).backward()
        optimizer.step()
    assert (model.eval().reconstruct(text) == text).float().mean() > 0.9
    with pytest.raises(ConfigError, match="code 0 must be at least 1"):
        Autoencoder(LevelConfig(), code=0)
