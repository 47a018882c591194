"""A real browser: what its pages can and cannot do to a proxy on localhost."""
