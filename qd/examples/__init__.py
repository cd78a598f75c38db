"""Applications that ship with qd. Start with `shop`."""
