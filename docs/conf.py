"""The site of the documents: `bin/docs` builds it into `docs/_build`."""

from __future__ import annotations

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
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure", "myst.header"]
exclude_patterns = ["_build", "*.ipynb"]
html_math_renderer = "mathml"
html_theme = "furo"
html_title = "rollc"
html_show_sourcelink = False
html_show_copyright = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say more: shapes
napoleon_use_param = False  # types are words: no links into the void
napoleon_use_ivar = True
nitpicky = False


def inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def display(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(f"<div>{tex2mathml(node.astext(), as_block=True)}</div>")
    raise nodes.SkipNode


def setup(app: Any) -> None:
    app.add_lexer("roll", RollLexer)
    # Formulas as MathML, which browsers draw: no script, and nothing from a network.
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
