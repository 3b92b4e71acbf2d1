"""``multirsh shell``: line after line on hosts whose connections stay open."""
