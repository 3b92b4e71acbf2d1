"""SSH: the files of ssh that multirsh reads itself, and the sessions made from them."""
