"""MEGABYTE and TerraByte: both READMEs' examples as they stand, and what they rely on."""

import contextlib
import io
import math

import pytest
import torch
from torch import Tensor

import codebyte
from codebyte.dropin import MEGABYTE, TerraByte
from codebyte.errors import CodebyteError
from codebyte.vocab import PAD

# Each example as it was published, without its imports.
MEGABYTE_README = """
model = MEGABYTE(
    num_tokens = 16000,             # number of tokens
    dim = 512,                      # transformer model dimension
    max_seq_len = (1024, 4),        # sequence length for global and then local
    depth = (6, 4),                 # number of layers for global and then local
    dim_head = 64,                  # dimension per head
    heads = 8,                      # number of attention heads
    flash_attn = True               # use flash attention
)

x = torch.randint(0, 16000, (1, 1024, 4))

loss = model(x, return_loss = True)
loss.backward()

# then after much training

logits = model(x)

# and sample from the logits accordingly
# or you can use the generate function

sampled = model.generate(temperature = 0.9, filter_thres = 0.9) # (1, 1024, 4)
"""
TERRABYTE_README = """
model = TerraByte(
    num_tokens = 16000,             # number of tokens
    dim = (512, 256),               # transformer model dimension (512 for coarsest, 256 for fine in this example)
    max_seq_len = (1024, 4),        # sequence length for global and then local. this can be more than 2
    depth = (6, 4),                 # number of layers for global and then local. this can be more than 2, but length must match the max_seq_len's
    dim_head = 64,                  # dimension per head
    heads = 8,                      # number of attention heads
    flash_attn = True               # use flash attention
)

x = torch.randint(0, 16000, (1, 1024, 4))

loss = model(x, return_loss = True)
loss.backward()

# then after much training

logits = model(x)

# and sample from the logits accordingly
# or you can use the generate function

sampled = model.generate(temperature = 0.9, filter_thres = 0.9) # (1, 1024, 4)
"""  # noqa: E501
EXAMPLES = {"MEGABYTE": MEGABYTE_README, "TerraByte": TERRABYTE_README}


def _run(example: str) -> dict[str, object]:
    torch.manual_seed(1)
    names: dict[str, object] = {}
    exec(f"import torch\nfrom codebyte import MEGABYTE, TerraByte\n{example}", names)
    return names


def _model(**changes: object) -> MEGABYTE:
    """A small model with random weights, of 8 patches of 4."""
    settings: dict[str, object] = {
        "num_tokens": 50,
        "dim": (32, 24),
        "depth": (2, 1),
        "max_seq_len": (8, 4),
        "dim_head": 8,
        "heads": 2,
    }
    torch.manual_seed(1)
    model = MEGABYTE(**(settings | changes))  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return model


def _ids(*shape: int) -> Tensor:
    return torch.randint(1, 50, shape, generator=torch.Generator().manual_seed(2))


def _assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def _surprise(model: MEGABYTE, ids: Tensor) -> Tensor:
    """Surprise of each id of (b, t) in nats, from what `forward` and `forward_empty` give."""
    logits = torch.cat([model.forward_empty(ids.shape[0]), model(ids)[:, :-1]], dim=1)
    return -logits.log_softmax(dim=-1).gather(2, ids[:, :, None])[:, :, 0]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs_from_end_to_end_with_fewer_patches(name: str) -> None:
    names = _run(EXAMPLES[name].replace("1024", "6"))
    loss, logits, sampled = names["loss"], names["logits"], names["sampled"]
    assert isinstance(loss, Tensor)
    assert isinstance(logits, Tensor)
    assert isinstance(sampled, Tensor)
    assert abs(loss.item() - math.log(16000)) < 1  # not yet trained
    assert logits.shape == (1, 6, 4, 16000)
    assert (sampled.shape, sampled.dtype) == ((1, 6, 4), torch.int64)


@pytest.mark.slow
def test_the_example_learns_from_an_input_of_its_full_size() -> None:
    example, _ = TERRABYTE_README.split("sampled =")
    logits = _run(example)["logits"]
    assert isinstance(logits, Tensor)
    assert logits.shape == (1, 1024, 4, 16000)


def test_both_names_are_public() -> None:
    assert codebyte.MEGABYTE is codebyte.TerraByte is TerraByte is MEGABYTE


@pytest.mark.parametrize(
    ("dim", "depth", "max_seq_len"),
    [((16,), (2,), (20,)), ([24, 16], [1, 1], [5, 4]), (16, (1, 1, 1), (3, 3, 2))],
)
def test_one_two_and_three_levels_given_as_tuples_or_lists(
    dim: int, depth: list[int], max_seq_len: list[int]
) -> None:
    model = _model(dim=dim, depth=depth, max_seq_len=max_seq_len)
    assert (model.stages, model.max_seq_len, model.pad_id) == (len(depth), tuple(max_seq_len), 0)
    ids = _ids(2, math.prod(max_seq_len))
    logits = model(ids.reshape(2, *max_seq_len))
    assert logits.shape == (2, *max_seq_len, 50)
    torch.testing.assert_close(logits.flatten(1, -2), model(ids))
    finest = model.model.config.levels[0]
    assert (finest.patch_size, len(model.model.config.levels)) == (max_seq_len[-1], len(depth))


def test_logits_are_of_the_id_after_each() -> None:
    model = _model()
    ids = _ids(1, 32)
    logits = model(ids)
    for place in range(32):
        other = ids.clone()
        other[0, place] = (other[0, place] + 1) % 50
        moved = (model(other) - logits).abs().amax(dim=2)[0]
        assert moved[:place].sum() < 1e-4
        assert moved[place] > 1e-3


def test_flat_and_patched_inputs_of_any_length_agree() -> None:
    model = _model()
    ids = _ids(2, 32)
    whole = model(ids)
    for length in range(1, 33):
        torch.testing.assert_close(model(ids[:, :length]), whole[:, :length], rtol=0, atol=1e-4)
    patched = model(ids[:, :20].reshape(2, 5, 4))
    torch.testing.assert_close(patched.flatten(1, 2), whole[:, :20], rtol=0, atol=1e-4)


def test_the_loss_is_the_mean_over_all_ids_with_the_first() -> None:
    model = _model()
    ids = _ids(2, 30)
    surprise = _surprise(model, ids)
    _assert_close(model(ids, return_loss=True), surprise.mean())
    _assert_close(model(ids[:, :1], return_loss=True), surprise[:, 0].mean())
    shaped = model(ids[:, :28].reshape(2, 7, 4), return_loss=True)
    _assert_close(shaped, surprise[:, :28].mean())


@pytest.mark.parametrize("pad_id", [0, 7, 50, -100])
def test_padding_does_not_count(pad_id: int) -> None:
    model = _model(pad_id=pad_id)
    short, long = _ids(1, 9), _ids(1, 14)
    short[short == 7], long[long == 7] = 8, 8
    padded = torch.cat([short, torch.full((1, 5), pad_id)], dim=1)
    both = model(torch.cat([padded, long]), return_loss=True)
    total = 9 * model(short, return_loss=True) + 14 * model(long, return_loss=True)
    _assert_close(both, total / 23)


@pytest.mark.parametrize(("pad_id", "counts"), [(0, False), (49, True)])
def test_nul_counts_unless_it_is_the_padding(pad_id: int, counts: bool) -> None:
    model = _model(pad_id=pad_id)
    ids = torch.cat([_ids(1, 6).clamp(max=48), torch.zeros(1, 3, dtype=torch.int64)], dim=1)
    surprise = _surprise(model, ids)[0]
    wanted = surprise.mean() if counts else surprise[:6].mean()
    _assert_close(model(ids, return_loss=True), wanted)


def test_the_id_that_is_padding_in_codebyte_is_an_id_like_others_here() -> None:
    model = _model(num_tokens=300)
    ids = torch.full((1, 4), PAD)
    _assert_close(model(ids, return_loss=True), _surprise(model, ids).mean())


@pytest.mark.parametrize("length", [0, 12])
def test_nothing_but_padding_has_a_loss_of_zero(length: int) -> None:
    model = _model()
    loss = model(torch.zeros(2, length, dtype=torch.int64), return_loss=True)
    loss.backward()
    assert loss == 0
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("pos_emb", [False, True])
def test_the_loss_reaches_every_parameter(pos_emb: bool) -> None:
    model = _model(pos_emb=pos_emb)
    model(_ids(2, 32), return_loss=True).backward()
    still = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_empty_rows_have_the_logits_that_the_loss_trains_for_the_first_id() -> None:
    model = _model()
    empty = model.forward_empty(3)
    assert empty.shape == (3, 1, 50)
    _assert_close(model(torch.zeros(3, 0, dtype=torch.int64)), empty)
    for first in (1, 31):
        loss = model(torch.tensor([[first]]), return_loss=True)
        _assert_close(loss, -empty[0, 0].log_softmax(dim=-1)[first])


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
def test_ids_may_be_of_any_integer_type(kind: torch.dtype) -> None:
    model = _model()
    ids = _ids(2, 4, 4)
    torch.testing.assert_close(model(ids.to(kind)), model(ids), rtol=0, atol=0)
    loss = model(ids.to(kind), return_loss=True)
    torch.testing.assert_close(loss, model(ids, return_loss=True), rtol=0, atol=0)
    prime = ids.flatten(1).to(kind)
    assert model.generate(prime).dtype == torch.int64


@pytest.mark.parametrize("start", [0, 1, 4, 11, 32])
@pytest.mark.parametrize("pos_emb", [False, True])
def test_greedy_sampling_takes_the_likeliest_id_of_the_whole_input(
    start: int, pos_emb: bool
) -> None:
    model = _model(pos_emb=pos_emb)
    prime = _ids(2, start)
    sampled = model.generate(prime, temperature=0).flatten(1)
    torch.testing.assert_close(sampled[:, :start], prime)
    logits = torch.cat([model.forward_empty(2), model(sampled)[:, :-1]], dim=1)
    likeliest = logits.gather(2, sampled[:, :, None])[:, start:, 0]
    # equal but for ties within rounding
    torch.testing.assert_close(likeliest, logits[:, start:].amax(dim=2), rtol=0, atol=1e-4)


def test_a_prime_may_be_in_patches() -> None:
    model = _model()
    prime = _ids(2, 3, 4)
    patched, flat = (model.generate(p, temperature=0) for p in (prime, prime.flatten(1)))
    torch.testing.assert_close(patched, flat)
    assert patched.shape == (2, 8, 4)


@pytest.mark.parametrize(("filter_thres", "kept"), [(0.9, 4), (0.5, 25), (1.0, 1), (0.0, 50)])
def test_only_the_likeliest_ids_are_sampled(filter_thres: float, kept: int) -> None:
    model = _model()
    generator = torch.Generator().manual_seed(3)
    sampled = model.generate(
        filter_thres=filter_thres, temperature=100.0, default_batch_size=400, generator=generator
    )
    first = sampled[:, 0, 0]
    likeliest = model.forward_empty(1)[0, 0].topk(kept).indices
    # nearly even chances at this temperature: each of 50 is missed by 400 draws once in 3000 times
    assert set(first.tolist()) <= set(likeliest.tolist())
    assert len(set(first.tolist())) >= 0.9 * kept


def test_samples_follow_the_chances_at_their_temperature() -> None:
    model = _model(num_tokens=4, max_seq_len=(1, 1))
    draws = model.generate(
        filter_thres=0.0,
        temperature=0.7,
        default_batch_size=4000,
        generator=torch.Generator().manual_seed(3),
    )
    found = draws.flatten().bincount(minlength=4) / 4000
    wanted = (model.forward_empty(1)[0, 0] / 0.7).softmax(dim=-1)
    assert (found - wanted).abs().max() < 0.03  # four standard errors


def test_generating_leaves_the_mode_and_the_gradients_alone() -> None:
    model = _model(attn_dropout=0.5, ff_dropout=0.5)
    for training in (True, False):
        model.train(training)
        first, second = (model.generate(temperature=0) for _ in range(2))
        assert model.training is model.model.training is training
        assert not first.requires_grad
        torch.testing.assert_close(first, second)  # no dropout meanwhile
    model.train()
    with pytest.raises(ValueError, match="temperature -1"):
        model.generate(temperature=-1)
    assert model.training


def test_generating_is_quiet_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    model = _model()
    model.generate()
    assert capsys.readouterr() == ("", "")
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown):
        model.generate(_ids(1, 2), progress=True)
    assert "30/30" in shown.getvalue()


@pytest.mark.parametrize("option", ["attn_dropout", "ff_dropout"])
def test_dropout_works_in_training_only(option: str) -> None:
    plain, dropping = _model(), _model(**{option: 0.3})
    ids = _ids(1, 32)
    torch.testing.assert_close(dropping.eval()(ids), plain(ids), rtol=0, atol=0)
    dropping.train()
    assert (dropping(ids) - dropping(ids)).abs().max() > 1e-3


def test_learned_positions_tell_places_apart() -> None:
    model, plain = _model(pos_emb=True), _model()
    added = {n for n, _ in model.named_parameters()} - {n for n, _ in plain.named_parameters()}
    sizes = {n: tuple(model.get_parameter(n).shape) for n in added}
    assert sorted(sizes.values()) == [(4, 24), (9, 32)]
    ids = _ids(1, 32)
    before = model(ids)
    local = next(n for n in added if sizes[n] == (4, 24))
    with torch.no_grad():
        model.get_parameter(local)[2] += 1.0
    moved = (model(ids) - before).abs().amax(dim=2)[0] > 1e-5
    # a logit is of the id after it: place 2 of each patch is told, and place 3 sees it
    assert moved.tolist() == [i % 4 in (1, 2) for i in range(32)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": (2, 1, 1)}, r"dim \(32, 24\), depth \(2, 1, 1\) and max_seq_len \(8, 4\)"),
        ({"dim": (32, 24, 16)}, r"dim \(32, 24, 16\), depth \(2, 1\)"),
        ({"max_seq_len": (8,)}, r"max_seq_len \(8,\) must be of one length"),
        ({"depth": (), "dim": (), "max_seq_len": ()}, r"depth \(\) .* one entry for each level"),
        ({"max_seq_len": (8, 0)}, r"max_seq_len \(8, 0\) must be at least 1"),
        ({"depth": (2, 0)}, "layers 0 must be at least 1"),
        ({"dim_head": 7}, "head_dim 7 must be even"),
        ({"heads": -1}, "heads -1 must not be negative"),
        ({"num_tokens": 1}, "vocab_size 1"),
        ({"attn_dropout": 1.5}, "attn_dropout 1.5 must be at least 0 and below 1"),
        ({"ff_dropout": -0.1}, "ff_dropout -0.1 must be at least 0"),
    ],
)
def test_settings_that_do_not_fit_are_a_value_error(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        _model(**change)
    assert isinstance(caught.value, CodebyteError)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((32,), r"shape \(32,\) must be integers of shape \(batch, length\) or \(batch, 8, 4\)"),
        ((1, 2, 2, 4), r"shape \(1, 2, 2, 4\) must be"),
        ((1, 9, 4), r"shape \(1, 9, 4\) must fit max_seq_len \(8, 4\)"),
        ((1, 8, 3), r"shape \(1, 8, 3\) must fit max_seq_len \(8, 4\)"),
        ((1, 33), r"length 33 must not be longer than max_seq_len \(8, 4\) allows, which is 32"),
    ],
)
def test_inputs_that_do_not_fit_are_a_value_error(shape: tuple[int, ...], message: str) -> None:
    model = _model()
    for use in (model, model.generate):
        with pytest.raises(ValueError, match=message):
            use(_ids(*shape))


def test_fractions_are_not_ids() -> None:
    with pytest.raises(ValueError, match=r"type torch.float32 and shape \(1, 4\) must be integers"):
        _model()(torch.zeros(1, 4))


@pytest.mark.parametrize("filter_thres", [-0.1, 1.1])
def test_a_filter_out_of_range_is_refused(filter_thres: float) -> None:
    with pytest.raises(ValueError, match=f"filter_thres {filter_thres} must be from 0 to 1"):
        _model().generate(filter_thres=filter_thres)
