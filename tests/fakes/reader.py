"""Reads a page as a browser does, and takes offence where something is not closed."""

from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "br", "img", "link", "input", "hr", "col"}


class Element:
    """A tag with its attributes, its children and all text in it."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.children, self.text = tag, attributes, [], ""

    def all(self, tag="", **attributes):
        """Every descendant of that tag with those attributes (`data_x` stands for `data-x`)."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        for child in self.children:
            if tag in ("", child.tag) and wanted.items() <= child.attributes.items():
                yield child
            yield from child.all(tag, **attributes)

    def one(self, tag="", **attributes):
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def words(self):
        return " ".join(self.text.split())


class Page(HTMLParser):
    """A page from its text."""

    def __init__(self, text):
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]
        assert text.startswith("<!doctype html>")
        self.feed(text)
        self.close()
        assert self.open == [self.root], f"not closed: {[e.tag for e in self.open]}"

    def handle_starttag(self, tag, attributes):
        element = Element(tag, {name: value or "" for name, value in attributes})
        assert len(element.attributes) == len(attributes), f"an attribute twice in {tag}"
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert tag not in VOID
        closed = self.open.pop()
        assert closed.tag == tag, f"</{tag}> where {closed.tag} is open"

    def handle_data(self, data):
        for element in self.open:
            element.text += data

    def handle_entityref(self, name):
        raise AssertionError(f"&{name}")


def read(path: Path) -> Element:
    return Page(path.read_text()).root


def rows_of(table: Element) -> list[list[Element]]:
    """The cells of a table's body, row by row."""
    body = table.one("tbody")
    return [[c for c in row.children if c.tag in ("td", "th")] for row in body.all("tr")]
