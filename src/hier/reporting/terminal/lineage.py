"""A trace on the terminal as a tree, and as a graph for graphviz."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from hier.audit.lineage import AS_RECORDED, File, Origin, Step, Trace
from hier.ledger.dvc_lock import AWAY
from hier.pipeline import STAGES
from hier.results.measures import Figure

MARK = {True: "[green]✓[/green]", False: "[red]✗[/red]"}

# Of the settings, what one looks for first; --json has all.
FIRST = (
    "seed", "backbone.timm", "head.dim", "head.curvature", "loss.name", "regularizer.name",
    "regularizer.weight", "optimizer.lr", "schedule.epochs", "sampler.batch_size", "protocol.name",
    "evaluate.metric", "embed.crop", "ks", "layout", "subset", "store_size", "generate.seed",
    "runtime.device", "runtime.precision", "runtime.threads",
)  # fmt: skip


def print_trace(found: Trace, full: bool = False) -> None:
    """The way back as a tree.

    Args:
        full: of a table of all runs, the way of each run instead of a line.
    """
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    console.print(tree(found, full), soft_wrap=False)


def tree(found: Trace, full: bool = False) -> Tree:
    """The way back: each file under the step that read it, each step under the file that it made."""
    top = Tree(f"[bold]{escape(found.asked)}[/bold]")
    away = found.worst(found.start).standing == AWAY
    for figure in found.figures:
        top.add(escape(in_words(figure) + (f", {AWAY}" if away else "")))
    shown: set[str] = set()
    _add_made(top, found.start, found, shown, full)
    return top


def in_words(figure: Figure) -> str:
    """A figure, and how it lies to the reference run's."""
    value = "–" if figure.value is None else f"{figure.value:.2f}"
    if figure.value is None and figure.same_bytes is None:
        value = "not made yet"
    if figure.expected is None:
        return f"{figure.measure} {value} (no reference run)"
    reference = f"reference {figure.expected:.2f} ± {figure.tolerance:.2f}"
    words = {True: "; the same bytes as the reference run's", False: "; other bytes", None: ""}
    return f"{figure.measure} {value} ({reference}{words[figure.same_bytes]})"


def dot(found: Trace, full: bool = False) -> str:
    """The way back as a graph: boxes are steps, ellipses files, arrows lead from cause to result."""
    lines = ["digraph trace {", "  rankdir=LR;", "  node [fontname=sans];"]
    nodes: dict[str, str] = {}
    edges: dict[str, None] = {}
    for step in _drawn(found, full):
        name = step.job.name
        nodes[name] = _node("box", [name, step.standing])
        for origin in step.origins:
            source = f"{name} from {origin.name}"
            nodes[source] = _node(
                "note", [f"{origin.name} {_short(origin.sha256)}", *whence(origin)]
            )
            edges[f"{_quoted(source)} -> {_quoted(name)}"] = None
        for file in step.inputs:
            nodes.setdefault(file.path, _file_node(file))
            edges[f"{_quoted(file.path)} -> {_quoted(name)}"] = None
        for file in step.outputs:
            nodes[file.path] = _file_node(file)
            edges[f"{_quoted(name)} -> {_quoted(file.path)}"] = None
    lines += [f"  {_quoted(name)} {attributes};" for name, attributes in nodes.items()]
    return "\n".join([*lines, *(f"  {edge};" for edge in edges), "}"])


def _drawn(found: Trace, full: bool) -> list[Step]:
    """The steps to show; of a table of all runs only those of the suite unless `full`."""
    steps = list(found.steps.values())
    if full or not found.runs:
        return steps
    return [step for step in steps if step.job.stage.each == "suite"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _file_node(file: File) -> str:
    return _node("ellipse", [file.path, _short(file.digest.get("sha256")), file.state])


def _node(shape: str, lines: list[str]) -> str:
    label = _quoted("\n".join(lines))
    return f"[shape={shape}, label={label}]"


def _add_made(branch: Tree, name: str, found: Trace, shown: set[str], full: bool) -> None:
    """Under `branch`: what was asked for, with its bytes, and then the job that made it."""
    step = found.steps[name]
    for file in step.outputs:
        if file.path in found.wanted:
            branch.add(_file_line(file))
    _add_step(branch, step, found, shown, full)


def _add_step(branch: Tree, step: Step, found: Trace, shown: set[str], full: bool) -> None:
    """A step with what is known of it, and the way back from its inputs."""
    shown.add(step.job.name)
    node = branch.add(_step_line(step))
    for line in facts(step):
        node.add(escape(line))
    for origin in step.origins:
        _add_origin(node, origin)
    short = bool(found.runs) and not full
    if short and step.job.stage.each == "suite":
        _add_runs(node, found)
    # The run's own files first, so that the dataset is told of at the training.
    order = sorted(step.inputs, key=lambda f: not f.path.startswith("runs/"))
    for file in order:
        maker = found.makers.get(file.path)
        if short and maker and found.steps[maker].job.stage.each == "run":
            continue
        _add_input(node, file, maker, found, shown, full)


def _add_input(
    node: Tree, file: File, maker: str | None, found: Trace, shown: set[str], full: bool
) -> None:
    if maker in shown:
        node.add(f"{_file_line(file)}, made by {escape(str(maker))} (told elsewhere)")
        return
    below = node.add(_file_line(file))
    if maker:
        _add_step(below, found.steps[maker], found, shown, full)


def _add_runs(node: Tree, found: Trace) -> None:
    """One line for each run: its first figure, its bytes, the worst that is to be said of it."""
    for run, figures in found.runs.items():
        worst = found.worst(f"evaluate@{run}")
        because = f" ({worst.job.name}: {worst.reason})" if worst.reason else ""
        mark = MARK[worst.standing == "current"]
        line = f"{run}: {in_words(figures[0])}; {worst.standing}{because}"
        node.add(f"{mark} {escape(line)}")
    node.add("[dim]the way of one run: hier trace RUN; of all: --full[/dim]")


def _add_origin(node: Tree, origin: Origin) -> None:
    mark = "" if origin.kept is None else f"{MARK[origin.kept]} "
    size = "" if origin.size is None else f", {origin.size} bytes"
    known = f"sha256 {origin.sha256}{size}" if origin.sha256 else "(its bytes are not here)"
    below = node.add(f"{mark}{escape(origin.name)} {known}")
    for line in whence(origin):
        below.add(escape(line))


def whence(origin: Origin) -> list[str]:
    """Where a file comes from and what was promised of it, in words."""
    lines = [] if origin.seed is None else [f"drawn from seed {origin.seed}"]
    lines += [f"in package {origin.package}"] if origin.package else []
    lines += [f"from {address}" for address in origin.addresses]
    return [
        *(lines or ["from a mirror, or put there by hand; it has no address"]),
        *(_promise(kind, value, origin) for kind, value in origin.promised.items()),
    ]


def _promise(kind: str, value: str, origin: Origin) -> str:
    if kind == "unproved":
        held = f"; sha256 {_short(origin.sha256)} since {origin.since}" if origin.since else ""
        return f"no promise ({value}){held}"
    words = {True: "kept", False: "broken: the bytes are other", None: "tested when it was read"}
    return f"promised {kind} {value}: {words[origin.kept]}"


def _file_line(file: File) -> str:
    mark = MARK[file.state == AS_RECORDED]
    hash_ = _short(file.digest.get("sha256") or file.digest.get("md5"))
    return f"{mark} {escape(file.path)} {hash_} {file.state}"


def _step_line(step: Step) -> str:
    mark = MARK[step.standing == "current"]
    reason = f": {step.reason}" if step.reason else ""
    return f"{mark} [bold]{escape(step.job.name)}[/bold] {escape(step.standing + reason)}"


def facts(step: Step) -> list[str]:
    """What a step's record says of it, a line each; or which command makes one."""
    record = step.record
    if record is None:
        return [f"no record that can be believed; make it with: {step.job.command}"]
    packages = ", ".join(f"{name} {value}" for name, value in record["packages"].items())
    return [
        f"key {_short(record['key'])}, {record.get('started')}, {record.get('seconds')} s",
        f"settings: {_settings(step)}",
        f"code: {_code(record)}",
        f"packages: {packages}",
        f"machine: {machine(record.get('environment', {}))}",
    ]


def _settings(step: Step) -> str:
    """The settings that one looks for first, and how many more there are."""
    if step.job.stage.each == "suite":
        return "every setting of the suite"
    first = [f"{name} {step.settings[name]}" for name in FIRST if name in step.settings]
    more = len(step.settings) - len(first)
    words = [", ".join(first)] if first else []
    words += [f"{more} more (--json)"] if more else []
    return " and ".join(words)


def _code(record: dict[str, Any]) -> str:
    git = record.get("environment", {}).get("git")
    first = STAGES[record["stage"].partition("@")[0]].versioned()[0]
    digest = record["versioned"].get(first, {}).get("sha256")
    others = len(record["versioned"]) - 1
    commit = "outside of git"
    if git:
        commit = f"git {_short(git['commit'])}, {'clean' if git['clean'] else 'with changes'}"
    return f"{first} {_short(digest)} and {others} more, {commit}"


def machine(environment: dict[str, Any]) -> str:
    """Processor, system, Python, and how torch was set, in words."""
    words = [
        f"{environment.get('processor')} ({environment.get('cpus')} processors)",
        f"{environment.get('system')}",
        f"Python {environment.get('python')}",
    ]
    if torch := environment.get("torch"):
        words += [f"torch {torch['build']}", f"{torch['threads']} thread(s)"]
        words += [torch["gpu"]] if torch["gpu"] else []
    return ", ".join(words)


def _short(hash_: str | None) -> str:
    return hash_[:12] if hash_ else "–"
