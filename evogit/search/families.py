"""What names mean in training code: roles of numbers, families of interchangeable components, and what must not be moved.

Knowledge only: words and tables, learnt from PyTorch, Keras and scikit-learn. It looks at no file.
"""

from __future__ import annotations

import re
from functools import lru_cache


def _set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


NN, F, OPTIM, INIT = "torch.nn", "torch.nn.functional", "torch.optim", "torch.nn.init"

# Members of a family can stand in for each other, arguments mended where `agents.offline` knows how.
MEMBERS: dict[str, tuple[str, ...]] = {
    "activation": (
        *(f"{NN}.{n}" for n in ("ReLU", "GELU", "SiLU", "LeakyReLU", "ELU", "Mish", "Tanh", "Hardswish", "PReLU", "SELU", "CELU", "ReLU6")),
        *(f"{F}.{n}" for n in ("relu", "gelu", "silu", "leaky_relu", "elu", "mish", "hardswish", "selu", "celu", "relu6")),
        "torch.relu",
    ),
    "norm": (
        *(f"{NN}.{n}" for n in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d")),
        *(f"{NN}.{n}" for n in ("GroupNorm", "LayerNorm", "RMSNorm")),
        *(f"{F}.{n}" for n in ("layer_norm", "rms_norm")),
    ),
    "optimizer": tuple(f"{OPTIM}.{n}" for n in ("SGD", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adamax")),
    "pooling": (
        *(f"{NN}.{n}" for n in ("MaxPool1d", "AvgPool1d", "MaxPool2d", "AvgPool2d", "MaxPool3d", "AvgPool3d")),
        *(f"{NN}.Adaptive{n}" for n in ("MaxPool1d", "AvgPool1d", "MaxPool2d", "AvgPool2d")),
        *(f"{F}.{n}" for n in ("max_pool1d", "avg_pool1d", "max_pool2d", "avg_pool2d")),
        *(f"{F}.adaptive_{n}" for n in ("max_pool1d", "avg_pool1d", "max_pool2d", "avg_pool2d")),
    ),
    "initialiser": tuple(
        f"{INIT}.{n}"
        for n in ("kaiming_normal_", "kaiming_uniform_", "xavier_normal_", "xavier_uniform_", "orthogonal_", "trunc_normal_", "normal_")
    ),
    "schedule": tuple(
        f"{OPTIM}.lr_scheduler.{n}"
        for n in ("CosineAnnealingLR", "LinearLR", "StepLR", "ExponentialLR", "LambdaLR", "OneCycleLR", "MultiStepLR", "PolynomialLR")
    ),
    "loss": tuple(f"{NN}.{n}" for n in ("CrossEntropyLoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "NLLLoss")),
}
FAMILY_OF: dict[str, str] = {name: family for family, names in MEMBERS.items() for name in names}

# nn.Identity assigned to a name with this word holds the place of a component.
PLACEHOLDERS = {"norm": "norm", "normalization": "norm", "activation": "activation", "act": "activation"}

# String settings, by the word in the setting's name. A string is a gene only if the library is known to take its siblings.
STRINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "sklearn": {"activation": ("relu", "tanh", "logistic"), "solver": ("adam", "sgd", "lbfgs"), "learning_rate": ("constant", "adaptive")},
    "keras": {
        "activation": ("relu", "gelu", "silu", "elu", "selu", "tanh"),
        "optimizer": ("adam", "adamw", "sgd", "rmsprop", "nadam"),
        "kernel_initializer": ("glorot_uniform", "he_normal", "he_uniform", "orthogonal"),
    },
}
STRING_FAMILY = {"activation": "activation", "optimizer": "optimizer", "solver": "optimizer", "learning_rate": "schedule"} | {
    "kernel_initializer": "initialiser",
    "norm": "norm",
    "schedule": "schedule",
    "scheduler": "schedule",
    "act": "activation",
    "init": "initialiser",
}

# A setting whose name has one of these words is somebody else's business: data, budgets, reporting, shapes fixed from outside.
PROTECTED = _set(
    "seed seeds random path paths dir dirs folder file files filename url uri port host version device devices dtype worker workers thread"
    " threads jobs cpu cpus gpu gpus rank world classes class label labels vocab image img pixel pixels input inputs output outputs target"
    " targets time timeout budget deadline seconds second minutes hours limit cap log logging print report verbose eval val valid validation"
    " test tests save checkpoint ckpt plot fig figsize debug smoke dry sample samples data dataset axis kernel stride padding dilation"
    " groups index idx name key id flops peak tflops step0 start end stop compile patch grid pad ignore eot bos eos fold folds cv"
)
PROTECTED_NAMES = _set(
    "train_s n_train train_size ntrain max_seconds seq_len sequence_len max_seq_len keepdim keepdims inplace batch_first "
    "in_features out_features in_channels out_channels num_embeddings padding_idx normalized_shape num_features bias_k "
    "dim0 dim1 start_dim end_dim decimals indent flush frozen slots "
    "kw_only strict reverse exist_ok parents required weights_only non_blocking pin_memory drop_last persistent_workers prefetch_factor "
    "return_x_y as_frame retain_graph create_graph set_to_none requires_grad is_causal need_weights memory_format antialias align_corners fused "
    "foreach capturable differentiable maximize capture_output check text shell encoding errors newline sep delimiter skiprows maxsplit "
    "copy deep ddof k largest sorted unbiased correction shuffle enabled replacement fullgraph dynamic world_size allow_pickle precision"
)
# Calls whose settings are not the model's or the training's.
OTHER_CALLS = _set(
    "print open seed manual_seed manual_seed_all dumps dump loads load save mkdir run Popen check_call check_output basicConfig ArgumentParser "
    "add_parser round enumerate zip sorted min max sum mean std var argmax argmin any all range dataclass field subplots figure plot savetxt "
    "loadtxt genfromtxt read_csv to_csv train_test_split default_rng RandomState Generator cat stack concat concatenate reshape view squeeze "
    "unsqueeze flatten split chunk topk gather scatter sort zeros ones full empty arange linspace rand randn randint normal uniform permutation "
    "one_hot cumsum norm logsumexp einsum tensor array asarray astype to cuda compile set_num_threads lru_cache wraps property sleep wait join "
    "get getenv pop setdefault strftime format autocast no_grad Path zero_grad backward all_reduce barrier Lock Thread Process Queue"
)

_ROLES: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (role, _set(words))
    for role, words in (
        ("schedule", "warmup warmdown cooldown anneal annealing milestones tmax pct final gamma lrf"),
        ("smoothing", "smoothing smooth"),
        ("dropout", "drop dropout droppath stochdepth"),
        ("decay", "wd weightdecay"),
        ("lr", "lr eta learningrate"),
        ("momentum", "momentum beta betas rho ema"),
        ("clip", "clip clipnorm clipvalue"),
        ("noise", "noise jitter sigma"),
        ("steps", "epoch epochs step steps iter iters iteration iterations updates"),
        ("batch", "batch bs bsz batchsize"),
        ("heads", "head heads nhead"),
        ("depth", "layer layers depth block blocks stages nlayer nlayers"),
        (
            "width",
            "width widths hidden dim dims size sizes channels channel planes units neurons nodes filters features feature embd embed emb"
            + " embedding dmodel mlp ffn ff feedforward expansion inner latent nf ngf ndf estimators leaf leaves",
        ),
        ("init", "std init scale gain"),
    )
)
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
# Where a setting that is 0 now begins when it is switched on.
START = {"dropout": 0.1, "decay": 0.001, "smoothing": 0.1, "momentum": 0.9}


@lru_cache(maxsize=4096)
def words(name: str) -> tuple[str, ...]:
    """The words of an identifier in lower case, digits left out: "n_embd2" is ("n", "embd"), "dropPath" is ("drop", "path")."""
    return tuple(w.lower() for w in _WORD.findall(name) if not w.isdigit())


@lru_cache(maxsize=4096)
def role(name: str) -> str:
    """What a number of this name does in training ("lr", "width", ...); "" if its name does not say."""
    last = name.rpartition(".")[2].partition("[")[0]
    found = words(last)
    joined = "".join(found)
    if "decay" in found and "weight" in found:
        return "decay"
    if "learning" in found and "rate" in found:
        return "lr"
    if "max" in found and "norm" in found:
        return "clip"
    if joined == "alpha" or last.lower() in {"l1", "l2"}:
        return "decay"
    if joined == "p" or joined in {"keepprob", "dropprob"}:
        return "dropout"
    if "decay" in found:
        return "schedule"
    if "head" in found and "dim" in found:
        return "width"
    if not {"layer", "layers"}.isdisjoint(found) and not {"size", "sizes", "width", "widths", "dim", "dims", "units"}.isdisjoint(found):
        return "width"
    for name_of_role, vocabulary in _ROLES:
        if joined in vocabulary or not vocabulary.isdisjoint(found):
            return name_of_role
    return ""


@lru_cache(maxsize=4096)
def is_protected(name: str) -> bool:
    """True if a constant of this name must not move: seeds, paths, budgets, data, shapes that are given from outside."""
    last = name.rpartition(".")[2].partition("[")[0]
    if last.startswith("__") or last.lower() in PROTECTED_NAMES:
        return True
    found = words(last)
    return not PROTECTED.isdisjoint(found) and not _is_exempt(found)


def _is_exempt(found: tuple[str, ...]) -> bool:
    """Names with a guarded word that are hyperparameters all the same."""
    joined = "".join(found)
    return joined in {
        "trainbatch",
        "trainbatchsize",
        "minsamplesleaf",
        "minsamplessplit",
        "dropoutrate",
        "inputdropout",
        "sampledropout",
        "labelsmoothing",
        "droppath",
        "pathdrop",
    }
