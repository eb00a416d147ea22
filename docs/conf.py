"""What Sphinx makes of docs/: see `make docs`."""

import re

from hier import __version__

project = "HIER"
release = __version__
copyright = "the authors of this reproduction of HIER"

extensions = ["myst_parser", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "api/modules.rst"]
html_theme = "furo"
html_title = "HIER, rebuilt as a ledger of results"
html_show_copyright = False

# Links between pages lead to headings by the names that a code host gives them.
myst_heading_anchors = 4

# The reference is made of the docstrings at each build, in docs/api, which git ignores.
apidoc_modules = [{"path": "../src/hier", "destination": "api"}]
apidoc_separate_modules = True
apidoc_module_first = True
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
napoleon_use_ivar = True
default_role = "code"
# What this project defines must be found, but for type variables and private names.
# Registry.check stands in types whose values it validates.
nitpick_ignore_regex = [(r"py:.*", r"(?!hier\.).*|hier\.[\w.]*\.(_\w+|[A-Z]|Annotated|Registry\.check)")]
suppress_warnings = ["ref.python"]  # `bytes` is also the name of a field


def as_it_is(app, what, name, obj, options, lines):
    """Docstrings are plain text: show indented blocks and tables as they are, and no `*` as emphasis."""
    shown, before, literal = [], "", False
    for line in lines:
        blank_above = bool(shown) and not shown[-1].strip()
        starts = blank_above and not before.startswith(" ") and line.startswith("    ")
        if line.strip():
            literal = starts or line.startswith("|") or (literal and line.startswith(" "))
            if starts or (line.startswith("|") and not before.startswith("|")):
                shown += ["", "::", ""]
            before = line
        if literal:
            shown.append(f"    {line}" if line.startswith("|") else line)
        else:
            shown.append(_without_marks(line))
    lines[:] = shown


def _without_marks(line):
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def setup(app):
    app.connect("autodoc-process-docstring", as_it_is, priority=400)  # before napoleon
