"""One page as text: a template filled in, everything from the data escaped."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hier.audit.origins import describe_origin


@cache
def environment() -> Environment:
    """Templates of hier.reporting; a name that a template lacks is an error."""
    found = Environment(
        loader=PackageLoader("hier.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["describe_origin"] = describe_origin
    # Data for scripts: in its own order, without spaces.
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return found


class Pages:
    """Renders pages that share some values: `suite` and `with_galleries` at least."""

    def __init__(self, **shared: Any) -> None:
        self.shared = shared

    def render(self, template: str, root: str, here: str, **values: Any) -> str:
        """A page as text, by what it is called in the navigation; `root` leads from it to the report's
        folder: "" or "../"."""
        found = environment().get_template(template)
        return found.render(root=root, here=here, **self.shared, **values)
