"""Linear layers, token mixers, 1-d and 3-d convolutions in networks: found, replaced, used as PyTorch's own modules."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import canvas
import evaluations
from canvas import Budget, Infeasible, Layer, UserError, parse, sample
from canvas.cli import main
from canvas.layers import Fitted, Target, merged, replace, targets

LINEAR = parse("kernel factored(x[C]) -> [K]:\n  a = fc(x, [C] -> [m = C/r])\n  return fc(gelu(a), [m] -> [K])")
GROUPED = parse(
    "kernel grouped(x[C]) -> [K]:\n  y = split(x, [C] -> [g, c = C/g])\n"
    "  z = fc(y, [c] -> [k = K/g], per: [g])\n  return merge(z, [k, g] -> [K])"
)
MIXER = parse(
    "kernel mixer(x[T, C]) -> [T, K]:\n  d = fc(unfold(x, T: 3), [t] -> [], per: [C])\n"
    "  m = fold(x, mean: [T])\n  return fc(add(d, m), [C] -> [K])"
)
MIXING = parse("kernel mixing(x[T, C]) -> [T, K]:\n  return fc(fc(x, [T] -> [T]), [C] -> [K])")
LINE = parse(
    "kernel line(x[C, W]) -> [K, W/s]:\n  d = fc(unfold(x, W: 3), [w] -> [], per: [C])\n"
    "  return fc(subsample(d, W: s), [C] -> [K])"
)
SOLID = parse(
    "kernel solid(x[C, D, H, W]) -> [K, D/s, H/s, W/s]:\n"
    "  d = fc(unfold(x, D: 3, H: 3, W: 3), [d, h, w] -> [], per: [C])\n"
    "  return fc(subsample(d, D: s, H: s, W: s), [C] -> [K])"
)


def net_of_transformers(name):
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if name == "gpt2":
        config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50, n_positions=32)
        return transformers.GPT2LMHeadModel(config)
    if name == "bert":
        config = transformers.BertConfig(**small, vocab_size=50, max_position_embeddings=32)
        return transformers.BertForSequenceClassification(config)
    return transformers.ViTForImageClassification(transformers.ViTConfig(**small, image_size=16, patch_size=4))


class Line(nn.Module):
    """1-d convolutions with and without a bias or padding, and a linear head behind a softmax."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(2, 8, 5, 2, 2), nn.ReLU(), nn.Conv1d(8, 8, 3, padding=1, bias=False), nn.Conv1d(8, 12, 5, 2, 1)
        )
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        return self.head(self.body(x).mean(2)).softmax(1)


class Solid(nn.Module):
    """3-d convolutions, one used twice, and two linear layers."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv3d(1, 8, 3, padding=1)
        self.twice = nn.Conv3d(8, 8, 3, padding="same")
        self.blocks = nn.ModuleList([nn.ModuleDict({"down": nn.Conv3d(8, 12, 3, 2, 1)})])
        self.hidden, self.head = nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, x):
        x = self.blocks[0]["down"](self.twice(self.twice(self.first(x)).relu()))
        return self.head(self.hidden(x.mean((2, 3, 4))).relu())


def inputs(name, batch=2):
    torch.manual_seed(1)
    if name in ("gpt2", "bert"):
        return {"input_ids": torch.randint(0, 50, (batch, 7))}
    return torch.randn(batch, *{"vit": (3, 16, 16), "line": (2, 17), "solid": (1, 5, 6, 7)}[name])


def network(name):
    torch.manual_seed(0)
    return {"line": Line, "solid": Solid}[name]() if name in ("line", "solid") else net_of_transformers(name)


def output(model, x):
    result = model(**x) if isinstance(x, dict) else model(x)
    return getattr(result, "logits", result)


# (network, kinds, kernel, how many targets)
REPLACED = [
    ("gpt2", "linear", LINEAR, 8),
    ("gpt2", "linear", GROUPED, 8),
    ("bert", "linear", LINEAR, 13),
    ("bert", "linear", GROUPED, 13),
    ("vit", "linear", MIXER, 12),
    ("vit", "linear", MIXING, 12),
    ("line", "conv", LINE, 2),
    ("solid", "conv", SOLID, 2),
    ("solid", "linear", GROUPED, 1),
]
IDS = [f"{name}-{kernel.name}" for name, _, kernel, _ in REPLACED]


@pytest.mark.parametrize(("name", "kinds", "kernel", "count"), REPLACED, ids=IDS)
def test_networks_take_kernels_and_train(name, kinds, kernel, count):
    model, x = network(name), inputs(name)
    found = targets(model, x, kinds=kinds)
    assert len(found) == count
    new = replace(model, kernel, found)
    assert sum(type(m).__module__ == "canvas.generated" for m in new.modules()) == count
    expected = output(model, x)
    optimizer = torch.optim.AdamW(new.parameters(), lr=1e-3)
    before = [p.detach().clone() for p in new.parameters()]
    for _ in range(2):
        got = output(new.train(), x)
        assert got.shape == expected.shape and got.isfinite().all()
        optimizer.zero_grad()
        got.square().mean().backward()
        optimizer.step()
    generated = [m for m in new.modules() if type(m).__module__ == "canvas.generated"]
    assert all(p.grad is not None for m in generated for p in m.parameters())
    assert any(not torch.equal(p, old) for p, old in zip(new.parameters(), before, strict=True))


@pytest.mark.parametrize(("name", "kinds", "kernel", "count"), REPLACED, ids=IDS)
def test_copies_state_and_precisions(name, kinds, kernel, count):
    model, x = network(name), inputs(name)
    found = targets(model, x, kinds=kinds)
    torch.manual_seed(2)
    new = replace(model, kernel, found).eval()
    expected = output(new, x)
    assert torch.equal(output(copy.deepcopy(new), x), expected)
    other = replace(model, kernel, found).eval()
    assert not torch.equal(output(other, x), expected)
    other.load_state_dict(new.state_dict())
    assert torch.equal(output(other, x), expected)
    wide = x if isinstance(x, dict) else x.double()
    torch.testing.assert_close(output(copy.deepcopy(new).double(), wide).float(), expected, rtol=1e-3, atol=1e-3)
    for kind in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", kind):
            assert (output(new, x).float() - expected).norm() < 0.2 * expected.norm()
    half = copy.deepcopy(new).bfloat16()
    assert output(half, x if isinstance(x, dict) else x.bfloat16()).dtype == torch.bfloat16


def test_saved_networks_open_in_a_fresh_process(tmp_path):
    saved = []
    for kernel, layer, shape in [
        (GROUPED, nn.Linear(8, 8), (2, 5, 8)),
        (MIXER, nn.Linear(8, 8), (2, 5, 8)),
        (LINE, nn.Conv1d(8, 8, 3), (2, 8, 5)),
        (SOLID, nn.Conv3d(8, 8, 3, padding=1), (2, 8, 3, 4, 5)),
    ]:
        x = torch.randn(shape)
        new = replace(nn.Sequential(layer, nn.LayerNorm(layer(x).shape[-1])), kernel, example=x).eval()
        saved.append((new, x, new(x).detach()))
    torch.save(saved, tmp_path / "nets.pt")
    check = (
        "import sys, torch\n"
        "for new, x, expected in torch.load(sys.argv[1], weights_only=False):\n"
        "    torch.testing.assert_close(new(x), expected, rtol=1e-3, atol=1e-4)\n"
    )
    subprocess.run([sys.executable, "-c", check, str(tmp_path / "nets.pt")], check=True, timeout=120)


@pytest.mark.parametrize(("kernel", "shape"), [(GROUPED, (2, 5, 16)), (MIXER, (2, 5, 16)), (LINE, (2, 16, 5))])
def test_torch_compile(kernel, shape):
    torch._dynamo.reset()
    layer = nn.Conv1d(16, 16, 3, padding=1) if kernel is LINE else nn.Linear(16, 16)
    model = replace(nn.Sequential(layer, nn.LayerNorm(shape[2])), kernel, example=torch.zeros(shape)).eval()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.randn(shape)
    torch.testing.assert_close(compiled(x), model(x))


def test_targets_of_gpt2_are_its_transposed_layers_with_their_tokens():
    model, x = network("gpt2"), inputs("gpt2")
    found = targets(model, x, kinds="linear")
    assert found[:4] == [
        Target("transformer.h.0.attn.c_attn", Layer(16, 48, tokens=7)),
        Target("transformer.h.0.attn.c_proj", Layer(16, 16, tokens=7)),
        Target("transformer.h.0.mlp.c_fc", Layer(16, 64, tokens=7)),
        Target("transformer.h.0.mlp.c_proj", Layer(64, 16, tokens=7)),
    ]
    assert [t.name for t in targets(model, x, kinds="linear", include_head=True)][8:] == ["lm_head"]
    new = replace(model, LINEAR, found)
    layer = new.transformer.h[0].attn.c_attn
    assert isinstance(layer, Fitted) and layer.nf == 48
    assert torch.equal(layer.bias, model.transformer.h[0].attn.c_attn.bias)
    for length in (1, 7, 12):  # any number of tokens, one by one as in generation
        assert new(torch.randint(0, 50, (2, length))).logits.shape == (2, length, 50)
    assert new.generate(torch.ones(1, 3, dtype=torch.long), max_new_tokens=4, do_sample=False).shape == (1, 7)


def test_sampled_kernels_serve_a_whole_transformer():
    model, x = network("vit").eval(), inputs("vit")
    found = targets(model, x, kinds="linear")
    layers = merged(found)
    assert [(layer.c_in, layer.c_out, layer.tokens, layer.count) for layer in layers] == [
        (16, 16, 17, 8), (16, 32, 17, 2), (32, 16, 17, 2)
    ]  # fmt: skip
    for limits in ({}, {"mix_tokens": False}, {"min_reach": 3}):
        for kernel in sample(layers, 5, seed=5, budget=Budget(params=0.8), **limits):
            binding = kernel.bind(layers, Budget(params=0.8))
            new = replace(model, binding, found)
            assert output(new, x).isfinite().all()
            old = sum(p.numel() for p in model.parameters()) - sum(layer.params * layer.count for layer in layers)
            assert sum(p.numel() for p in new.parameters()) == old + binding.params


def test_kinds_and_heads():
    model, x = Line(), inputs("line")
    assert [t.name for t in targets(model, x)] == ["body.2", "body.3"]
    assert targets(model, x)[1].layer == Layer(8, 12, (7,), stride=2, window=5)
    assert [t.name for t in targets(model, x, include_stem=True)] == ["body.0", "body.2", "body.3"]
    with pytest.raises(UserError, match="nothing to replace"):
        targets(model, x, kinds="linear")  # a head even behind a softmax
    assert targets(model, x, kinds="linear", include_head=True) == [Target("head", Layer(12, 4, ()))]
    solid, y = Solid(), inputs("solid")
    assert [(t.name, t.layer.kind) for t in targets(solid, y, kinds=("linear", "conv"))] == [
        ("twice", "conv3d"), ("blocks.0.down", "conv3d"), ("hidden", "linear")
    ]  # fmt: skip
    assert targets(solid, y, kinds="conv3d") == targets(solid, y)
    with pytest.raises(UserError, match="nothing to replace"):
        targets(solid, y, kinds=["conv1d", "conv2d"])
    with pytest.raises(UserError, match=r"of the kind 'conv4d'; there are conv, linear, conv1d, conv2d, conv3d$"):
        targets(solid, y, kinds="conv4d")


@pytest.mark.parametrize(("shape", "tokens"), [((4, 8), None), ((4, 5, 8), 5), ((2, 3, 4, 8), None), ((8,), None)])
def test_a_linear_layer_has_tokens_where_one_axis_lies_between_batch_and_channels(shape, tokens):
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    [found] = targets(model, torch.zeros(shape), kinds="linear")
    assert found == Target("0", Layer(8, 6, (), tokens=tokens))
    new = replace(model, LINEAR, [found])
    assert new(torch.zeros(shape)).shape == (*shape[:-1], 2)


def test_kernels_and_layers_of_several_kinds():
    solid, x = Solid(), inputs("solid")
    found = targets(solid, x, kinds=("conv", "linear"))
    with pytest.raises(Infeasible, match=r"the layer 12 -> 12, .*leave out .* kernel\.serves\(layer\)"):
        replace(solid, SOLID, found)
    assert replace(solid, SOLID, [t for t in found if SOLID.serves(t.layer)])(x).shape == (2, 4)
    new = replace(replace(solid, SOLID, example=x), LINEAR, example=x)  # by default what the kernel serves
    assert isinstance(new.twice, Fitted) and isinstance(new.hidden, Fitted) and isinstance(new.head, nn.Linear)
    with pytest.raises(UserError, match="no layer that kernel 'line' serves; its layers are conv3d, linear"):
        replace(solid, LINE, example=x)
    with pytest.raises(UserError, match="'hidden' is no conv3d layer but Linear"):
        replace(solid, SOLID, [Target("hidden", Layer(12, 12, (5, 6, 7)))])
    with pytest.raises(ValueError, match="all layers must be of one kind, got conv3d and linear"):
        sample(merged(found), 1)


@pytest.mark.parametrize("mask", [False, True])
def test_pytorchs_own_transformer_layers_do_not_read_past_the_kernels(mask):
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, nn.LayerNorm(16)).eval()
    x = torch.randn(2, 5, 16)
    found = targets(model, x, kinds="linear")
    assert [t.name for t in found] == [f"layers.{i}.linear{j}" for i in (0, 1) for j in (1, 2)]
    new = replace(model, LINEAR, found).eval()
    keywords = {"src_key_padding_mask": torch.tensor([[False] * 5, [False] * 3 + [True] * 2])} if mask else {}
    with torch.no_grad():
        fast = new(x, **keywords)
    torch.testing.assert_close(fast[0], new(x, **keywords)[0].detach())
    assert not torch.allclose(fast[0], model(x, **keywords)[0])


def test_types_and_modes_follow_the_layer():
    model = network("vit").double().eval()
    new = replace(model, MIXER, example=inputs("vit").double())
    assert {p.dtype for p in new.parameters()} == {torch.float64}
    assert not any(m.training for m in new.modules())
    assert isinstance(new.classifier, nn.Linear)


def test_the_command_line_knows_the_kinds(tmp_path, capsys):
    (tmp_path / "nets.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def mlp(): return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), nn.LayerNorm(8))\n"
        "def words(): return nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 8), nn.LayerNorm(8))\n"
    )
    (tmp_path / "mixer.canvas").write_text(str(MIXER))
    net = str(tmp_path / "nets.py")

    def printed(*arguments):
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    rows = printed("targets", f"{net}:mlp", "--input", "5x8", "--kind", "linear")["targets"]
    assert [(row["kind"], row["c_in"], row["c_out"], row["tokens"]) for row in rows] == [
        ("linear", 8, 16, 5), ("linear", 16, 8, 5)
    ]  # fmt: skip
    assert printed("targets", f"{net}:words", "--input", "ids:6", "--kind", "linear")["targets"][0]["tokens"] == 6
    assert main(["targets", f"{net}:mlp", "--input", "5x8", "--kind", "linear"]) == 0
    assert "5 tokens" in capsys.readouterr().out
    model = printed("sample", "--model", f"{net}:mlp", "--input", "5x8", "--kind", "linear", "--count", "3")
    layers = printed("sample", "--layer", "8,16,T=5", "--layer", "16,8,T=5", "--count", "3")
    assert [k["text"] for k in model["kernels"]] == [k["text"] for k in layers["kernels"]]
    assert all("x[T, C]" in k["text"] for k in layers["kernels"])
    assert "x[C]" in printed("sample", "--layer", "8,16", "--count", "1")["kernels"][0]["text"]
    assert printed("check", str(tmp_path / "mixer.canvas"), "--layer", "8,16,T=5")["files"][0]["ok"]
    assert printed("show", str(tmp_path / "mixer.canvas"), "--layer", "8,16,T=5")["layers"][0]["layer"]["tokens"] == 5
    assert main(["check", str(tmp_path / "mixer.canvas"), "--layer", "8,16"]) == 2
    assert "mixer.canvas: kernel 'mixer': bind: layers that" in capsys.readouterr().err


def test_a_study_of_linear_layers(tmp_path):
    model = nn.Sequential(nn.Flatten(2), nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 9), nn.LayerNorm(9))
    found = targets(model, torch.zeros(1, 5, 3, 3), kinds="linear")
    study = canvas.Study(tmp_path / "study.db", found, seed=1)
    study.run(evaluations.quick, candidates=3, workers=1, progress=False)
    again = canvas.Study.open(tmp_path / "study.db")
    assert again.layers == [t.layer for t in found] and again.layers[0].tokens == 5
    assert again.trials[0].apply(model)(torch.zeros(2, 5, 3, 3)).shape == (2, 5, 9)
