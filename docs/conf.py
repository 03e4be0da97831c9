"""The site of the documents: `bin/docs` builds it into `docs/_build`."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

from rollc.support.version import VERSION
from rollc.tools.highlighting.pygments_lexer import RollLexer

project = "rollc"
author = "the authors of rollc"
release = version = VERSION
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
suppress_warnings = ["misc.highlighting_failure", "myst.header"]
exclude_patterns = ["_build", "*.ipynb"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "rollc"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_copyright = False
autodoc_member_order = "bysource"
# Its pages need no more of it than names, and it is large.
autodoc_mock_imports = ["torch"] if find_spec("torch") is None else []
autodoc_typehints = "none"  # docstrings say more: shapes
napoleon_use_param = False  # types are words: no links into the void
napoleon_use_ivar = True
nitpicky = False

# Pages that lie beside this folder, where repositories show them.
PAGES = {
    "README.md": "index.md",
    "grammar/README.md": "language.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
LINK = re.compile(r"\]\((?:\.\./|docs/)*([\w./-]+)")


def linked(app: Any, name: Any, *rest: Any) -> None:
    """Links to pages of the site, from wherever a text lies."""
    content = rest[-1]
    content[0] = LINK.sub(lambda found: f"]({PAGES.get(found[1], found[1])}", content[0])


def opened(app: Any, tree: nodes.document, name: str) -> None:
    """A picture leads to itself, for it is shown as small as the page is."""
    for image in [*tree.findall(nodes.image)]:
        path = f"_images/{image['uri'].rpartition('/')[2]}"
        image.replace_self(nodes.reference("", "", image.deepcopy(), refuri=path, internal=True))


def inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def display(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(f"<div>{tex2mathml(node.astext(), as_block=True)}</div>")
    raise nodes.SkipNode


def setup(app: Any) -> None:
    app.add_lexer("roll", RollLexer)
    app.connect("source-read", linked)
    app.connect("include-read", linked)
    app.connect("doctree-resolved", opened)
    # Formulas as MathML, which browsers draw: no script, and nothing from a network.
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
