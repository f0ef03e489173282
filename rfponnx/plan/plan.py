"""The plan: every decision of a conversion, made before a node is written (DESIGN 1.8)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

from rfponnx.errors import OptionError, RfpError, Unsupported, guarded, nearest
from rfponnx.graph.builder import free_prefix
from rfponnx.graph.graph import Graph, Node
from rfponnx.ops.op import At, Linearisation, Op, refused
from rfponnx.ops.rearrange import encoded
from rfponnx.ops.registry import Registry
from rfponnx.plan.deeplift import Secants
from rfponnx.plan.direction import direction
from rfponnx.plan.explained import Explained, explained
from rfponnx.plan.facts import Facts
from rfponnx.plan.infinite import infinite
from rfponnx.plan.merge import merged
from rfponnx.plan.options import Options
from rfponnx.plan.patterns import patterned, read_patterns
from rfponnx.plan.rules import Recipe, Ruled, ruled
from rfponnx.plan.sources import Masks, by_tensor, check, check_masks, leaves_rest
from rfponnx.plan.spec import Source
from rfponnx.plan.target import Target, check_contrast, targets
from rfponnx.plan.target import checked as check_targets
from rfponnx.rules.composite import composite
from rfponnx.rules.convention import Convention, convention

DEFAULT = Convention()
FIELDS = frozenset(f.name for f in fields(Convention))


@dataclass(frozen=True, slots=True)
class Group:
    """Sources that travel together: one value with no stack axis, or one with all of them.

    Attributes
    ----------
    members
        Indices into the sources, in order; empty for masks whose number is known at run time.
    tensors
        Where the group's streams begin.
    stacked
        Whether its value has the stack axis.
    """

    members: tuple[int, ...]
    tensors: frozenset[str]
    stacked: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One node output on the way from the sources to what is explained."""

    node: Node
    y: str
    linearisation: Linearisation
    groups: tuple[Group, ...]  # alive at y


@dataclass(frozen=True, slots=True)
class Plan:
    """What the emitter will write.

    Attributes
    ----------
    sources
        In the order of the source axis; empty with run-time `masks`.
    steps
        In the order of the file; a step's terms come before it.
    explained, unreached
        What gets a relevance; the outputs that no source reaches.
    infinite
        Tensors that may hold infinities, where bias travels.
    relevance
        Tensors at which the backward walk carries relevance itself, not its multiplier.
    others
        Steps of further walks, whose results are added.
    direction
        ``forward``: streams are pushed; ``backward``: what is explained is pulled back.
    rules
        The rule of each layer and why, by the tensor it makes.
    """

    graph: Graph
    options: Options
    sources: tuple[Source, ...]
    masks: Masks | None
    groups: tuple[Group, ...]
    steps: tuple[Step, ...]
    explained: tuple[Explained, ...]
    unreached: tuple[str, ...]
    carried: frozenset[str]
    infinite: frozenset[str]
    notes: tuple[str, ...]
    relevance: frozenset[str] = frozenset()
    rules: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    convention: Convention = DEFAULT
    targets: tuple[Target, ...] = ()
    others: tuple[tuple[Step, ...], ...] = ()
    direction: str = "forward"

    @property
    def carries_bias(self) -> bool:
        """Whether bias travels as a stream of its own."""
        return self.options.bias != "separate"


def make_plan(
    graph: Graph,
    options: Options,
    sources: Sequence[Source],
    masks: Masks | None = None,
    notes: Sequence[str] = (),
    outputs: Sequence[str] | None = None,
) -> Plan:
    """Decide everything; `outputs` are those that may be explained (without any: all).

    Raises
    ------
    OptionError
        A source or an explained tensor does not fit the model; no source reaches any output.
    Unsupported
        A node on the way has no linearisation: its name and operator are given.
    """
    options.check_patterns([node.label for node in graph.nodes])
    checked = check(sources, graph)
    if masks is not None:
        try:
            check_masks(masks, graph)
        except OptionError as error:
            raise error.at("--source-masks") from None
    starts = _starts(checked, masks)
    flow = Flow(graph, options, starts)
    ends = graph.outputs if outputs is None else outputs
    asked = (options.seed_at,) if options.seed_at else options.explain
    wanted = explained(graph, ends, asked, options.class_axis)
    influenced = downstream(graph, starts)
    reached = tuple(e for e in wanted if e.tensor in influenced)
    if options.backward:
        reached = reached[:1]
    if not reached:
        names = ", ".join(e.tensor for e in wanted) or ", ".join(ends)
        raise OptionError(f"no source reaches {names}", hint="name other sources with --source")
    needed = flow.needed([e.tensor for e in reached if e.tensor in flow.carried])
    stepped = [
        f"sources reach `{e.tensor}` through rounding, comparisons or integers only: it is all bias"
        for e in reached
        if e.tensor not in flow.carried
    ]
    aims: tuple[Target, ...] = ()
    if options.backward:
        aims = check_targets(graph, reached[0], targets(options.target))
        _check_taps(options, graph, needed & flow.carried)
    groups = _groups(checked, masks, options.layout)
    under: Ruled | None = None
    order, facts = flow.order(needed), Facts(graph)
    kept = {*starts, *(e.tensor for e in reached), *options.taps}
    recipe = recipe_of(options)
    if recipe is not None:
        seeds = {e.tensor: seeds_relevance(options, recipe) for e in reached}
        under = ruled(facts, order, recipe, kept, flow.carried, seeds)
        order, stepped = list(under.steps), [*stepped, *under.notes]
    elif (
        not options.bias.startswith("split") and not options.way.whole
    ):  # which divides the offset of every layer
        order = merged(facts, order, kept)
    walks, told = _walks(graph, options, facts, flow, needed, order, kept)
    steps, *others = (tuple(_alive(walk, groups)) for walk in walks)
    linear = options.way.single and not (under and under.relevance)
    chosen, why = direction(options, steps, linear=linear)
    stepped = [*stepped, *told, *([f"{chosen}: {why}"] if why else [])]
    unreached = tuple(e.output for e in wanted if e not in reached)
    return Plan(
        graph, options, checked, masks, groups, steps, reached, unreached,
        frozenset(flow.carried), infinite(graph) if options.bias != "separate" else frozenset(),
        (*notes, *stepped),
        under.relevance if under else frozenset(), under.rules if under else {},
        recipe.convention if recipe else Convention(), aims, tuple(others), chosen,
    )  # fmt: skip


def _walks(
    graph: Graph,
    options: Options,
    facts: Facts,
    flow: Flow,
    needed: set[str],
    order: list[tuple[Node, str, Linearisation]],
    kept: Collection[str],
) -> tuple[list[list[tuple[Node, str, Linearisation]]], list[str]]:
    """Return the steps of each walk, of methods with maps of their own too, and what to say."""
    if options.method == "deeplift":
        place = f"{free_prefix(graph)}/reference"
        there = {t: f"{place}/{t}" for t in downstream(graph, flow.starts)}
        secants = Secants(facts, there, flow.carried, options.value("variant"))
        return secants.steps(flow.order(needed), kept), []
    if options.method in ("pattern_net", "pattern_attribution"):
        steps, told = patterned(
            facts, flow.order(needed), read_patterns(options.value("patterns")),
            times_weight=options.method == "pattern_attribution",
            masked=options.value("mask") == "relu",
        )  # fmt: skip
        return [steps], told
    return [order], []


def _check_taps(options: Options, graph: Graph, reached: Collection[str]) -> None:
    """Refuse a tap that no relevance passes."""
    for tap in options.taps:
        if tap not in graph.tensors():
            raise OptionError(f"no tensor `{tap}`", "--tap", nearest(tap, graph.tensors()))
        if tap not in reached:
            what = f"no relevance passes `{tap}`"
            raise OptionError(what, "--tap", "give a tensor between inputs and what is explained")


def recipe_of(options: Options) -> Recipe | None:
    """Return what decides the rules of layers; ``None`` for a method without rules."""
    if not options.ruled:
        return None
    chosen = composite(options.composite or options.way.composite or "epsilon")
    asked = {k: v for k, v in options.numbers.items() if k in FIELDS}
    asked |= {} if options.residual is None else {"residual": options.residual}
    asked |= {} if options.seed_value is None else {"seed": options.seed_value}
    flavor, rules = options.flavor or chosen.flavor, options.rules
    if options.contrastive:
        rules = (("last", "contrastive"), *rules)
    found = Recipe(convention(flavor, chosen.settings, asked), chosen, rules)
    if found.convention.seed == "contrastive":
        check_contrast(options.target, options.taps)
    return found


def seeds_relevance(options: Options, recipe: Recipe) -> bool:
    """Tell whether the walk starts from relevance itself, not from a multiplier of the logit."""
    if options.method == "rfp":
        return False
    return (
        options.target == "seed"
        or bool(options.seed_at)
        or recipe.convention.seed in ("one", "probability")
    )


class Flow:
    """What the sources reach, and how each node on the way is linearised."""

    def __init__(self, graph: Graph, options: Options, starts: Mapping[str, bool]) -> None:
        self.graph, self.options, self.starts = graph, options, starts
        self.registry = Registry()
        self.carried: set[str] = set()
        self.found: dict[str, tuple[Node, Linearisation | RfpError]] = {}
        self.made: dict[str, Linearisation] = {}
        self._touched: set[int] = set()
        for tensor in starts:
            self._carry(tensor)
        for node in graph.nodes:
            if node.index in self._touched:
                for y in filter(graph.is_float, node.outputs):
                    self._visit(node, y)

    def _carry(self, tensor: str) -> None:
        self.carried.add(tensor)
        for node in self.graph.consumers(tensor):
            self._touched.add(node.index)
            if node.op == "QuantizeLinear":  # who reads its codes reads the tensor
                self._touched.update(n.index for n in self.graph.consumers(node.outputs[0]))

    def _visit(self, node: Node, y: str) -> None:
        try:
            made = self.linearise(node, y)
        except Unsupported as error:
            self.found[y] = (node, error)
            self._carry(y)
            return
        self.found[y] = (node, made)
        if y not in self.starts:  # a source begins there: no op may look behind it
            self.made[y] = made
        if any(term.x in self.carried for term in made.terms):
            self._carry(y)

    def linearise(self, node: Node, y: str) -> Linearisation:
        """Return the linearisation of one output of a node."""
        numbers = self.options.of_node(node.label)
        op = self.registry.find(node.domain, node.op, self.graph.opset)
        carried = self._bearing(node, op)
        if op is not None and not carried:
            return Linearisation()
        try:
            if op is None:
                raise refused(node, f"{_full_name(node)} has no linearisation")
            with guarded(f"node `{node.label}` ({node.op})"):
                return op.by(At(self.graph, node, y, carried, numbers, self.made))
        except Unsupported:
            if numbers.release in ("left", "right"):
                return Linearisation(note="released: all of it counts as bias")
            raise

    def _bearing(self, node: Node, op: Op | None) -> set[str]:
        """Return the float inputs that a source reaches and the op follows."""
        places = range(len(node.inputs)) if op is None or op.inputs is None else op.inputs
        names = [node.inputs[i] for i in places if i < len(node.inputs)]
        if node.op == "DequantizeLinear":
            names = [encoded(self.graph, name) for name in names]
        return {n for n in names if n in self.carried and self.graph.is_float(n)}

    def needed(self, targets: Sequence[str]) -> set[str]:
        """Return the carried tensors that the targets are computed from through terms."""
        found: set[str] = set()
        queue = list(targets)
        while queue:
            y = queue.pop()
            if y in found:
                continue
            found.add(y)
            if self.starts.get(y) or y not in self.found:
                continue  # all of it belongs to sources, or it is an input
            _, made = self.found[y]
            if isinstance(made, RfpError):
                raise made
            queue += [t.x for t in made.terms if t.x in self.carried]
        return found

    def order(self, needed: set[str]) -> list[tuple[Node, str, Linearisation]]:
        """Return the steps in the order of the file."""
        steps = []
        for y, (node, made) in self.found.items():
            live = y in self.carried and y in needed and not self.starts.get(y)
            if live and isinstance(made, Linearisation):
                steps.append((node, y, made))
        return steps


def downstream(graph: Graph, tensors: Iterable[str]) -> set[str]:
    """Return all that is computed from some tensors, integers included, and the tensors."""
    found, queue = set(tensors), list(tensors)
    while queue:
        for node in graph.consumers(queue.pop()):
            new = {o for o in node.outputs if o} - found
            found |= new
            queue += new
    return found


def _full_name(node: Node) -> str:
    return f"{node.domain}:{node.op}" if node.domain else node.op


def _starts(sources: Sequence[Source], masks: Masks | None) -> dict[str, bool]:
    """Return the tensors where streams begin, and whether a source owns all of each."""
    if masks is not None:
        return {masks.tensor: False}
    return {
        tensor: any(not p.cuts and not p.masked for _, p in pieces)
        for tensor, pieces in by_tensor(sources).items()
    }


def _groups(sources: Sequence[Source], masks: Masks | None, layout: str) -> tuple[Group, ...]:
    if masks is not None:
        return (Group((), frozenset({masks.tensor}), True),)
    tensors = [frozenset(p.tensor for p in s.pieces) for s in sources]
    if layout != "stacked":
        return tuple(Group((i,), t, False) for i, t in enumerate(tensors))
    together: dict[frozenset[str], list[int]] = {}
    for index, where in enumerate(tensors):
        together.setdefault(where, []).append(index)
    return tuple(Group(tuple(m), where, True) for where, m in together.items())


def _alive(
    order: Sequence[tuple[Node, str, Linearisation]], groups: Sequence[Group]
) -> Iterator[Step]:
    alive = {
        tensor: {g for g in groups if tensor in g.tensors} for g in groups for tensor in g.tensors
    }
    for node, y, made in order:
        here = set().union(*(alive.get(t.x, set()) for t in made.terms)) | alive.get(y, set())
        alive[y] = here
        yield Step(node, y, made, tuple(g for g in groups if g in here))


def start_tensors(plan: Plan) -> tuple[str, ...]:
    """Return the tensors at which sources begin."""
    return tuple(dict.fromkeys(t for g in plan.groups for t in sorted(g.tensors)))


def uncovered(plan: Plan, tensor: str) -> bool:
    """Tell whether a source tensor may hold entries that nobody owns."""
    pieces = by_tensor(plan.sources).get(tensor)
    return pieces is None or leaves_rest([p for _, p in pieces], plan.graph)
