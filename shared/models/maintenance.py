"""Names of what can be in maintenance: a node, or the whole system. Pure."""

ALL = "all"  #: the whole system
