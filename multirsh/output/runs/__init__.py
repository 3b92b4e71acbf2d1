"""Records of runs, for people and for programs: the list, one of them, and what is different in two."""
