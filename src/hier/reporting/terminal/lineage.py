"""A trace on the terminal as a tree, and as a graph for graphviz."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from hier.audit.lineage import AS_RECORDED, File, Input, Step, Trace
from hier.audit.origins import describe_origin
from hier.ledger.dvc_lock import AWAY
from hier.pipeline import STAGES
from hier.results.expected import Value
from hier.results.measures import show

MARK = {True: "[green]✓[/green] ", False: "[red]✗[/red] ", None: ""}

# The settings that one looks for first; --json has all.
FIRST = (
    "seed", "backbone.timm", "head.dim", "head.curvature", "loss.name", "regularizer.name",
    "regularizer.weight", "optimizer.lr", "schedule.epochs", "sampler.batch_size", "protocol.name",
    "evaluate.metric", "embed.crop", "ks", "layout", "subset", "store_size", "generate.seed",
    "runtime.device", "runtime.precision", "runtime.threads",
)  # fmt: skip


def print_trace(found: Trace, full: bool = False) -> None:
    """The way back: each file under the step that read it, each step under the file that it made. Of a table
    of all runs, the way of each run where it is `full`, else a line."""
    top = Tree(f"[bold]{escape(found.asked)}[/bold]")
    away = found.worst(found.start).status == AWAY
    for figure in found.figures:
        top.add(escape(describe(figure) + (f", {AWAY}" if away else "")))
    for file in found.made():
        top.add(_file_line(file))
    step = found.steps[found.start]
    node = _add_step(top, step)
    if found.runs and not full and step.job.stage.scope == "suite":
        _add_runs(node, found)
    _add_inputs(node, found.inputs(full))
    Console(width=None if Console().is_terminal else 160, highlight=False).print(top)


def describe(figure: Value) -> str:
    """A value, and how it lies to the reference run's."""
    value, expected, mean, tolerance = (
        show(figure.measure, of) for of in (figure.value, figure.expected, figure.mean, figure.tolerance)
    )
    if figure.value is None and figure.same_bytes is None:
        value = "not made yet"
    if figure.expected is None:
        return f"{figure.measure} {value} (no reference run)"
    words = {True: "; the same bytes as the reference run's", False: "; other bytes", None: ""}
    bytes_ = words[figure.same_bytes]
    seeds = "" if figure.tolerance is None else f"; 99 % of seeds: {mean} ± {tolerance}"
    return f"{figure.measure} {value} (reference {expected}{bytes_}{seeds})"


def dot(found: Trace, full: bool = False) -> str:
    """The way back as a graph: boxes are steps, ellipses files, arrows lead from cause to result."""
    nodes: dict[str, str] = {}
    edges: dict[tuple[str, str], None] = {}
    for step in found.shown(full):
        name = step.job.name
        nodes[name] = _node("box", name, step.status)
        for origin in step.origins:
            source = f"{name} from {origin.name}"
            head = f"{origin.name} {_short(origin.sha256)}"
            nodes[source] = _node("note", head, *describe_origin(origin))
            edges[source, name] = None
        for file in step.inputs:
            nodes.setdefault(file.path, _file_node(file))
            edges[file.path, name] = None
        for file in step.outputs:
            nodes[file.path] = _file_node(file)
            edges[name, file.path] = None
    lines = ["rankdir=LR", "node [fontname=sans]"]
    lines += [f"{_quoted(name)} {attributes}" for name, attributes in nodes.items()]
    lines += [f"{_quoted(cause)} -> {_quoted(result)}" for cause, result in edges]
    return "\n".join(["digraph trace {", *(f"  {line};" for line in lines), "}"])


def machine(environment: dict[str, Any]) -> str:
    """Processor, system, Python, kernels, and how torch was set, in words."""
    get = environment.get
    words = [f"{get('processor')} ({get('cpus')} processors)", f"{get('system')}", f"Python {get('python')}"]
    words += [f"{get('kernels')} kernels"] if get("kernels") else []
    if torch := environment.get("torch"):
        words += [f"torch {torch['build']}", f"{torch['threads']} thread(s)"]
        words += [torch["gpu"]] if torch["gpu"] else []
    return ", ".join(words)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _file_node(file: File) -> str:
    return _node("ellipse", file.path, _short(file.digest.get("sha256")), file.state)


def _node(shape: str, *lines: str) -> str:
    return f"[shape={shape}, label={_quoted(chr(10).join(lines))}]"


def _add_step(branch: Tree, step: Step) -> Tree:
    """A step with what is known of it."""
    reason = f": {step.reason}" if step.reason else ""
    name, status = escape(step.job.name), escape(step.status + reason)
    node = branch.add(f"{MARK[step.status == 'current']}[bold]{name}[/bold] {status}")
    for line in _facts(step):
        node.add(escape(line))
    for origin in step.origins:
        size = "" if origin.size is None else f", {origin.size} bytes"
        found = f"sha256 {origin.sha256}{size}" if origin.sha256 else "(its bytes are not here)"
        below = node.add(f"{MARK[origin.kept]}{escape(origin.name)} {found}")
        for line in describe_origin(origin):
            below.add(escape(line))
    return node


def _add_inputs(node: Tree, inputs: tuple[Input, ...]) -> None:
    """The files that a step read, and the way back from each."""
    for read in inputs:
        line = _file_line(read.file)
        if read.maker and not read.step:
            line += f", made by {escape(read.maker)} (told elsewhere)"
        below = node.add(line)
        if read.step:
            _add_inputs(_add_step(below, read.step), read.inputs)


def _add_runs(node: Tree, found: Trace) -> None:
    """One line for each run: its first figure, its bytes, the worst that is to be said of it."""
    for run, figures in found.runs.items():
        worst = found.worst(f"evaluate@{run}")
        because = f" ({worst.job.name}: {worst.reason})" if worst.reason else ""
        line = f"{run}: {describe(figures[0])}; {worst.status}{because}"
        node.add(f"{MARK[worst.status == 'current']}{escape(line)}")
    node.add("[dim]the way of one run: hier trace RUN; of all: --full[/dim]")


def _file_line(file: File) -> str:
    hash_ = _short(file.digest.get("sha256") or file.digest.get("md5"))
    return f"{MARK[file.state == AS_RECORDED]}{escape(file.path)} {hash_} {file.state}"


def _facts(step: Step) -> Iterator[str]:
    """What a step's record says of it, a line each; or which command makes one."""
    record = step.record
    if record is None:
        yield f"no record that can be believed; make it with: {step.job.command}"
        return
    environment = record.get("environment", {})
    yield f"key {_short(record['key'])}, {record.get('started')}, {record.get('seconds')} s"
    yield f"settings: {_settings(step)}"
    yield f"code: {_code(record, environment.get('git'))}"
    yield "packages: " + ", ".join(f"{name} {of}" for name, of in record["packages"].items())
    yield f"machine: {machine(environment)}"


def _settings(step: Step) -> str:
    """The settings that one looks for first, and how many more there are."""
    if step.job.stage.scope == "suite":
        return "every setting of the suite"
    first = [f"{name} {step.settings[name]}" for name in FIRST if name in step.settings]
    more = len(step.settings) - len(first)
    return " and ".join(filter(None, [", ".join(first), f"{more} more (--json)" if more else ""]))


def _code(record: dict[str, Any], git: dict[str, Any] | None) -> str:
    first = STAGES[record["stage"].partition("@")[0]].read_from_git()[0]
    digest, others = record["versioned"].get(first, {}), len(record["versioned"]) - 1
    commit = f"git {_short(git['commit'])}" if git else "outside of git"
    state = "" if not git else ", clean" if git["clean"] else ", with changes"
    return f"{first} {_short(digest.get('sha256'))} and {others} more, {commit}{state}"


def _short(hash_: str | None) -> str:
    return hash_[:12] if hash_ else "–"
