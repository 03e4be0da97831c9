"""``rollc lsp``: what an editor asks about a spec, by the Language Server Protocol.

:mod:`server` alone knows the protocol; the other modules answer from the text and its spans.
"""
