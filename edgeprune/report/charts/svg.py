"""Writing escaped SVG elements."""

from __future__ import annotations

from markupsafe import Markup, escape


def element(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """One element; text and attribute values are escaped, Markup children are kept.

    Attribute names: a trailing underscore is dropped (`class_`), others become hyphens (`text_anchor`).
    Attributes that are None are left out.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    )
    content = Markup("").join(escape(child) for child in children)
    return Markup("<{}{}>{}</{}>").format(Markup(name), written, content, Markup(name))


def picture(label: str, class_: str, *children: Markup) -> Markup:
    """A whole chart that a screen reader announces as one image called `label`."""
    return element("svg", *children, class_=class_, role="img", aria_label=label)


def percent(share: float) -> str:
    """A share of one as an SVG length, kept within the drawing."""
    return f"{min(max(share, 0.0), 1.0) * 100:.2f}%"


def anchor(share: float) -> str:
    """The text-anchor that keeps a label at `share` of the width inside the drawing."""
    if share < 0.25:
        return "start"
    return "end" if share > 0.75 else "middle"
