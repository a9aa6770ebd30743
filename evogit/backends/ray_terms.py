"""What a campaign says under [backend.ray], what a trial therefore asks of Ray, and whether a cluster has it.

Pure: it talks to no cluster, and imports no Ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from evogit.backends import options as reading
from evogit.domain.trial import Job
from evogit.errors import UserError

GPU_KIND = "accelerator_type:"  # how Ray's resources begin that name a kind of GPU
MOST = (1 << 63) - 1  # bytes that can be asked for
PLACEMENTS = ("SPREAD", "DEFAULT")

Resources = Mapping[str, float]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The section [backend.ray]."""

    slots: reading.Slots | None = None  # the most that should run at once
    address: str = "auto"  # auto, host:port or ray://host:port
    namespace: str = "evogit"  # campaigns of one namespace share a clerk
    data: str = ""  # where the prepared data lies on every node; "" sends it with the trials
    cpus: float = -1.0  # that a trial takes, as Ray counts; -1 takes the budget's
    resources: dict[str, float] = {}  # custom resources that a trial takes besides
    placement: str = "SPREAD"  # over the nodes, or "DEFAULT": fill one after the other
    retries: int = 3  # times that Ray runs a trial again whose node or worker was lost
    autoscaling: bool = False  # nodes that are not there yet may come: trials wait for them


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What one trial asks of Ray."""

    cpus: float
    gpus: int
    gpu_kind: str  # part of a kind's name, "" for any; exactly Ray's name once `settled`
    memory: int  # bytes
    resources: dict[str, float]
    placement: str
    retries: int
    autoscaling: bool

    def needs(self) -> dict[str, float]:
        """Amounts by the names that Ray's nodes have for them."""
        named = {"CPU": self.cpus, "GPU": float(self.gpus), "memory": float(self.memory), **self.resources}
        if self.gpus and self.gpu_kind:
            named[GPU_KIND + self.gpu_kind] = 0.001
        return {name: amount for name, amount in named.items() if amount}

    def words(self) -> str:
        """For people: "2 CPUs, 1 x H100"."""
        named = [f"{self.cpus:g} CPU{'s' * (self.cpus != 1)}"] if self.cpus else []
        named += [f"{self.gpus} x {self.gpu_kind or 'GPU'}"] if self.gpus else []
        named += [f"{self.memory >> 20:,} MiB of memory"] if self.memory else []
        return ", ".join([*named, *(f"{amount:g} of {name}" for name, amount in self.resources.items())]) or "nothing"


def options_of(told: Mapping[str, object]) -> Options:
    """Read a person's options. Raises UserError that names a wrong one."""
    options = reading.read("ray", told, Options)
    if options.placement not in PLACEMENTS:
        raise UserError(f"[backend.ray] placement: {options.placement!r} is none", hint=f"one of {', '.join(PLACEMENTS)}")
    if options.retries < 0 or any(amount < 0 for amount in options.resources.values()):
        raise UserError("[backend.ray]: retries and resources are not below 0", hint="see docs/backends.md")
    return options


def terms_of(job: Job, options: Options) -> Terms:
    """What a job asks for under a person's options."""
    return Terms(
        cpus=float(job.cpus) if options.cpus < 0 else options.cpus, gpus=job.gpus, gpu_kind=job.gpu_kind if job.gpus else "",
        memory=min(job.memory_mib << 20, MOST), resources=dict(options.resources), placement=options.placement, retries=options.retries,
        autoscaling=options.autoscaling,
    )  # fmt: skip


def kinds(nodes: Iterable[Resources]) -> list[str]:
    """Kinds of GPUs, by Ray's names."""
    return sorted({name.removeprefix(GPU_KIND) for node in nodes for name in node if name.startswith(GPU_KIND)})


def settled(terms: Terms, nodes: Iterable[Resources]) -> Terms:
    """The terms with Ray's own name for the kind of GPU: the one that is called so, whatever its letters' case, else the first that has
    the word in it. As they were where none has."""
    known = kinds(nodes)
    same = [kind for kind in known if kind.lower() == terms.gpu_kind.lower()]
    close = [kind for kind in known if terms.gpu_kind.lower() in kind.lower()]
    return msgspec.structs.replace(terms, gpu_kind=(same or close or [terms.gpu_kind])[0]) if terms.gpu_kind else terms


def has_room(terms: Terms, nodes: Iterable[Resources]) -> bool:
    """True if one of these nodes, empty, has all that a trial asks for."""
    return any(all(node.get(name, 0.0) >= amount for name, amount in terms.needs().items()) for node in nodes)


def places(terms: Terms, nodes: Iterable[Resources]) -> int:
    """How many trials these nodes, empty, have room for; as many as there are CPUs where a trial asks for nothing."""
    needs = terms.needs() or {"CPU": 1.0}
    return sum(min(int(node.get(name, 0.0) / amount) for name, amount in needs.items()) for node in nodes)


def refusal(terms: Terms, nodes: list[Resources]) -> tuple[str, str]:
    """Why a trial could never begin on these nodes, and what to do: one line each; ("", "") if it can, or if nodes may come."""
    if terms.autoscaling or has_room(terms, nodes):
        return "", ""
    known = kinds(nodes)
    if terms.gpu_kind and terms.gpu_kind not in known:
        have = f"has {', '.join(known)}" if known else "has GPUs of no known kind" if any(n.get("GPU") for n in nodes) else "has no GPU"
        return (
            f"a trial asks for {terms.gpus} x {terms.gpu_kind}, and the Ray cluster {have}",
            "change [budget] gpu_kind in evogit.toml, " + MAYBE,
        )
    largest = ", ".join(
        f"{node.get('CPU', 0):g} CPUs {node.get('GPU', 0):g} GPUs {int(node.get('memory', 0)) >> 20:,} MiB" for node in nodes[:3]
    )
    have = (
        f"no node of the Ray cluster has that together ({largest}{', ...' if len(nodes) > 3 else ''})"
        if nodes
        else "the Ray cluster has no node"
    )
    return f"a trial asks for {terms.words()}, and {have}", "change [budget] in evogit.toml, " + MAYBE


MAYBE = "or set autoscaling = true under [backend.ray] where such nodes may come"
