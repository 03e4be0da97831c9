"""Commands that write and show texts: specs, their layout, what comes with rollc, its manual."""
