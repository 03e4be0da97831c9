"""One page of every stage of a compilation, in which what belongs together lights up together."""
