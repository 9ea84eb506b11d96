"""Where narrations and requests are kept: each store surveys and changes one kind of place."""
