"""The colours of a spec: a lexer for Pygments and a grammar for TextMate, with the same words."""
