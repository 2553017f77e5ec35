"""Parser of HTML reports, for tests."""

from html.parser import HTMLParser
from types import SimpleNamespace


class Page(HTMLParser):
    """Elements of an HTML page in order, with their section, attributes and text.

    A malformed page fails an assertion. Elements named in `void` have no end tag.
    """

    def __init__(self, text, void):
        super().__init__()
        self.text, self.void = text, void
        self.open, self.elements, self.section = [], [], None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), f"{tag} repeats an attribute"
        element = SimpleNamespace(tag=tag, **{"class_": "", "text": ""})
        element.attributes = dict(attributes)
        element.class_ = element.attributes.get("class") or ""
        element.parents = list(self.open)
        if tag == "h2":
            self.section = element.attributes["id"]
        element.section = self.section
        self.elements.append(element)
        if tag not in self.void:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1].tag == tag, f"</{tag}> closes {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element.text += data

    def find(self, tag, section=None, inside=None):
        return [
            e
            for e in self.elements
            if e.tag == tag
            and (section is None or e.section == section)
            and (inside is None or any(parent is inside for parent in e.parents))
        ]
