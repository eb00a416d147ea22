"""One page as text: a template filled in, everything from the data escaped."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hier.audit.origins import describe_origin


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
    """Renders pages that share some values.

    Args:
        shared: what every template may use: `suite`, `with_galleries`.
    """

    def __init__(self, **shared: Any) -> None:
        self.environment = environment()
        self.shared = shared

    def render(self, template: str, root: str, here: str, **values: Any) -> str:
        """A page as text.

        Args:
            root: leads from the page to the report's folder: "" or "../".
            here: what the page is called in the navigation.
        """
        found = self.environment.get_template(template)
        return found.render(root=root, here=here, **self.shared, **values)
